/// An NVMe drive, or an array, as this host sees it: controllers that share namespaces.
public struct NVMeSubsystem: Sendable, Hashable {
  /// "nqn.2014.08.org.nvmexpress:…"
  public var qualifiedName: String
  public var serialNumber: String
  public var model: String
  public var firmware: String
  /// Sorted by name.
  public var controllers: [NVMeController]
  public var namespaces: [NVMeNamespace]
}

/// A controller: a PCI function, or a connection to an array.
public struct NVMeController: Sendable, Hashable {
  /// "nvme0", until the next boot.
  public var name: String
  public var state: State
  /// "pcie", "tcp", "rdma", "fc", "loop".
  public var transport: String
  /// Nil where it is on no PCI bus.
  public var address: PCIAddress?
  /// Among those of its subsystem; nil: it is not known before the controller is live.
  public var identifier: UInt16?
  public var numaNode: Int32?

  public enum State: Sendable, Hashable {
    case live
    /// "new", "resetting", "connecting", "deleting", "dead" …
    case notLive(String)
  }

  /// Where admin commands are sent to.
  public func devicePath(under devices: String = "/dev") -> String { "\(devices)/\(name)" }
}

/// A namespace with a block device of its own, whichever of the controllers lead to it.
public struct NVMeNamespace: Sendable, Hashable {
  /// "nvme0n1", until the next boot.
  public var blockName: String
  public var number: UInt32
  /// Nil: it has none, and only its place in a subsystem tells it from others.
  public var name: DiskName?
  /// The names of those that it is attached to here.
  public var controllers: [String]
}

extension Sysfs {
  /// All subsystems, sorted by qualified name. What goes meanwhile is left out.
  public func nvmeSubsystems() -> [NVMeSubsystem] {
    let namespaces = nvmeNamespaces()
    var subsystems: [String: NVMeSubsystem] = [:]
    for name in names(in: "class/nvme") {
      guard let controller = nvmeController(name) else { continue }
      let node = "class/nvme/\(name)"
      // One that never came up has no qualified name; it is a subsystem of its own then.
      let qualified = text("\(node)/subsysnqn") ?? name
      subsystems[
        qualified,
        default: NVMeSubsystem(
          qualifiedName: qualified, serialNumber: text("\(node)/serial") ?? "", model: text("\(node)/model") ?? "",
          firmware: text("\(node)/firmware_rev") ?? "", controllers: [], namespaces: [])
      ].controllers.append(controller)
    }
    return subsystems.values.map { subsystem in
      var subsystem = subsystem
      let own = Set(subsystem.controllers.map(\.name))
      subsystem.namespaces = namespaces.filter { !own.isDisjoint(with: $0.controllers) }
      return subsystem
    }.sorted { $0.qualifiedName < $1.qualifiedName }
  }

  public func nvmeController(_ name: String) -> NVMeController? {
    let node = "class/nvme/\(name)"
    guard let state = text("\(node)/state") else { return nil }
    let transport = text("\(node)/transport") ?? ""
    return NVMeController(
      name: name, state: state == "live" ? .live : .notLive(state), transport: transport,
      address: transport == "pcie" ? text("\(node)/address").flatMap { PCIAddress($0) } : nil,
      identifier: integer("\(node)/cntlid"),
      numaNode: integer("\(node)/numa_node", as: Int32.self).flatMap { $0 < 0 ? nil : $0 })
  }

  /// The controller that is a PCI function, nil if the driver has not made one.
  public func nvmeController(at address: PCIAddress) -> NVMeController? {
    names(in: "\(address.sysfsPath)/nvme").lazy.compactMap { self.nvmeController($0) }.first
  }

  private func nvmeNamespaces() -> [NVMeNamespace] {
    let paths = pathsOfNamespaces()
    return names(in: "block").compactMap { name in
      // Those with the number of a controller in their name are paths of one that has the name without.
      guard let parts = NVMeBlockName(name), parts.controller == nil,
        let number: UInt32 = integer("block/\(name)/nsid")
      else { return nil }
      return NVMeNamespace(
        blockName: name, number: number, name: nvmeName("block/\(name)"),
        controllers: (paths[parts.head] ?? []).sorted())
    }
  }

  /// The controllers that have an entry for a namespace, by the namespace's name without the controller.
  private func pathsOfNamespaces() -> [String: [String]] {
    var paths: [String: [String]] = [:]
    for controller in names(in: "class/nvme") {
      for entry in names(in: "class/nvme/\(controller)") {
        guard let parts = NVMeBlockName(entry) else { continue }
        paths[parts.head, default: []].append(controller)
      }
    }
    return paths
  }

  /// As `NVMeNamespaceNames.best` chooses, from what the kernel read.
  func nvmeName(_ node: String) -> DiskName? {
    let names = NVMeNamespaceNames(
      nguid: octets("\(node)/nguid", 16), eui64: octets("\(node)/eui", 8), uuid: octets("\(node)/uuid", 16))
    // The kernel makes up a name of serial number and model where there is none.
    return names.best ?? text("\(node)/wwid").map { DiskName(rank: .serialNumber, text: $0) }
  }

  /// "00 25 38 …", or a UUID with dashes.
  private func octets(_ path: String, _ count: Int) -> [UInt8]? {
    guard let digits = text(path)?.filter({ $0 != " " && $0 != "-" }), digits.utf8.count == 2 * count else {
      return nil
    }
    var octets: [UInt8] = []
    var rest = digits[...]
    while !rest.isEmpty {
      guard let octet = UInt8(rest.prefix(2), radix: 16) else { return nil }
      octets.append(octet)
      rest = rest.dropFirst(2)
    }
    return octets
  }
}

/// "nvme0n1", or "nvme0c1n1" of a path by controller 1; partitions are none.
struct NVMeBlockName {
  var head: String
  var controller: UInt32?

  init?(_ name: String) {
    guard name.hasPrefix("nvme") else { return nil }
    var rest = name.dropFirst(4)
    guard let subsystem = Self.number(&rest) else { return nil }
    if rest.first == "c" {
      rest = rest.dropFirst()
      guard let number = Self.number(&rest) else { return nil }
      controller = number
    }
    guard rest.first == "n" else { return nil }
    rest = rest.dropFirst()
    guard let namespace = Self.number(&rest), rest.isEmpty else { return nil }
    head = "nvme\(subsystem)n\(namespace)"
  }

  private static func number(_ text: inout Substring) -> UInt32? {
    let digits = text.prefix { ("0"..."9").contains($0) }
    text = text.dropFirst(digits.count)
    return UInt32(digits)
  }
}
