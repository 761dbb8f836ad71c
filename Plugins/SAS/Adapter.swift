import FunctionPluginKit
import LinuxDevices
import Services

/// An adapter (HBA) of this host that makes virtual functions and that the configuration names: an end node beside its disks.
struct Adapter: Sendable, Hashable {
  static let prefix = "sas/hba-"
  var selection: AdapterSelection
  var found: SASAdapter
  var address: PCIAddress
  var capability: SRIOVCapability
  /// How many functions an operator wants it to make; nil: nobody has said so.
  var orderedFunctions: UInt32?
  /// Another end node is the same adapter, by another of its addresses.
  var isTwoEndNodes = false

  /// An operator's word goes before the configuration. With two end nodes it would be two words about one number.
  var wantedFunctions: UInt32? { (isTwoEndNodes ? nil : orderedFunctions) ?? selection.virtualFunctions }

  var endNode: String { Self.endNode(of: selection) }

  static func endNode(of selection: AdapterSelection) -> String { prefix + "\(selection.address)" }

  /// - Parameter holders: who has which of its functions, by index.
  func endNode(
    host: String, holders: [UInt32: String], ours: Int, standing: (held: [String], message: String), numaNode: Int32?
  ) -> EndNode {
    let foreign = UInt32(max(0, holders.count - ours))
    let free = capability.count - min(capability.count, foreign)
    return EndNode {
      $0.id = endNode
      $0.deviceClass = SASDisks.name
      $0.name = "\(host)/\(address)"
      $0.labels = ["kind": "adapter"].merging(selection.labels) { _, configured in configured }
      $0.roots = [
        Root {
          $0.host = host
          $0.localName = "\(address)"
          $0.numaNode = numaNode
        }
      ]
      $0.physicalFunction = physicalFunction(host: host, standing: standing)
      $0.capacity = Capacity { $0.functions = free }
      $0.used = Capacity { $0.functions = UInt32(ours) }
      $0.capabilities = Capabilities {
        $0.paths = [.direct]
        $0.consumers = ["virtual_machine", "user_space", "container"]
      }
      $0.health = Health {
        $0.state = free > 0 ? .healthy : .unhealthy
        guard free == 0 else { return }
        $0.message =
          "it has no virtual functions to give: set virtualFunctions for this adapter, or use "
          + "iov endnode set-functions"
      }
    }
  }

  private func physicalFunction(host: String, standing: (held: [String], message: String)) -> PhysicalFunction {
    PhysicalFunction {
      $0.controllingHost = host
      $0.driver = found.controller.driver
      $0.pciAddress = "\(address)"
      $0.permanentAddress = "\(selection.address)"
      $0.firmware = found.firmwareVersion ?? ""
      $0.functionCount = FunctionCount {
        $0.maximum = capability.total
        $0.present = capability.count
        $0.settable = !isTwoEndNodes
        $0.ordered = orderedFunctions
        $0.wanted = wantedFunctions
        $0.functionDriver = capability.functions.lazy.compactMap(\.driver).first { !DriverBinding.isVFIO($0) } ?? ""
        ($0.held, $0.message) = standing
      }
    }
  }
}
