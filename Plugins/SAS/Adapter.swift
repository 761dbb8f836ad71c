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

  var endNode: String { Self.prefix + "\(selection.address)" }

  /// - Parameter holders: who has which of its functions, by index.
  func endNode(host: String, holders: [UInt32: String], ours: Int, message: String?, numaNode: Int32?) -> EndNode {
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
      $0.physicalFunction = physicalFunction(host: host, holders: holders, message: message)
      $0.capacity = Capacity { $0.functions = free }
      $0.used = Capacity { $0.functions = UInt32(ours) }
      $0.capabilities = Capabilities {
        $0.paths = [.direct]
        $0.consumers = ["virtual_machine", "user_space", "container"]
      }
      $0.health = Health {
        $0.state = free > 0 ? .healthy : .unhealthy
        guard free == 0 else { return }
        $0.message = "it has no virtual functions to give: set virtualFunctions for this adapter"
      }
    }
  }

  private func physicalFunction(host: String, holders: [UInt32: String], message: String?) -> PhysicalFunction {
    PhysicalFunction {
      $0.controllingHost = host
      $0.driver = found.controller.driver
      $0.pciAddress = "\(address)"
      $0.permanentAddress = "\(selection.address)"
      $0.firmware = found.firmwareVersion ?? ""
      $0.functionCount = FunctionCount {
        $0.maximum = capability.total
        $0.present = capability.count
        $0.wanted = selection.virtualFunctions
        $0.functionDriver = capability.functions.lazy.compactMap(\.driver).first { !DriverBinding.isVFIO($0) } ?? ""
        guard let wanted = selection.virtualFunctions, wanted != capability.count else { return }
        $0.held = holders.sorted { $0.key < $1.key }.map(\.value)
        $0.message = message ?? ""
      }
    }
  }
}
