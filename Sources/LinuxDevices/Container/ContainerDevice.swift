/// A device as container runtimes take it by name (`--device KIND=NAME`): the Container Device Interface.
///
/// A runtime refuses a whole file for one field that it does not know, and for a version that it does not know: a device says
/// no more than it needs, under the earliest version that has it (CDI's own MinimumRequiredVersion).
public struct ContainerDevice: Sendable, Hashable {
  /// "iovmesh/ethernet": who makes such devices, and what they are.
  public let vendor: String
  public let deviceClass: String
  /// Unique among its kind.
  public let name: String
  /// Device files, under the same path in the container.
  public var files: [String] = []
  /// Interfaces that move into the container's network namespace, by their name here, and their name there.
  public var interfaces: [String: String] = [:]
  public var environment: [String: String] = [:]

  /// Nil when a name holds what the interface's do not: letters, digits and '_', '-', '.', and ':' in a device's, between a
  /// letter and a letter or digit.
  public init?(vendor: String, deviceClass: String, name: String) {
    guard Self.isValid(vendor, "_-."), Self.isValid(deviceClass, "_-"), Self.isValid(name, "_-.:") else { return nil }
    self.vendor = vendor
    self.deviceClass = deviceClass
    self.name = name
  }

  public var kind: String { "\(vendor)/\(deviceClass)" }

  /// What is given to a runtime: "iovmesh/ethernet=f0".
  public var qualifiedName: String { "\(kind)=\(name)" }

  /// Interfaces came with 1.1.0 (podman and containerd of 2026, with a runtime of OCI 1.3); device files and environment are in
  /// all that is still about.
  public var requiredVersion: String { interfaces.isEmpty ? "0.3.0" : "1.1.0" }

  private static func isValid(_ name: String, _ others: String) -> Bool {
    func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte | 0x20) }
    func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    guard let first = name.utf8.first, let last = name.utf8.last, isLetter(first), isLetter(last) || isDigit(last)
    else {
      return false
    }
    return name.utf8.allSatisfy { isLetter($0) || isDigit($0) || others.utf8.contains($0) }
  }
}

extension ContainerDevice {
  /// The file's contents, sorted by name throughout.
  public var document: JSONValue {
    .object([
      "cdiVersion": .string(requiredVersion), "kind": .string(kind),
      "devices": .array([.object(["name": .string(name), "containerEdits": edits])]),
    ])
  }

  /// An object always, and without members that would be empty: both are what runtimes want.
  private var edits: JSONValue {
    var edits: [String: JSONValue] = [:]
    if !environment.isEmpty {
      edits["env"] = .array(environment.sorted { $0.key < $1.key }.map { .string("\($0.key)=\($0.value)") })
    }
    if !files.isEmpty {
      edits["deviceNodes"] = .array(files.map { .object(["path": .string($0), "permissions": .string("rw")]) })
    }
    if !interfaces.isEmpty {
      edits["netDevices"] = .array(
        interfaces.sorted { $0.key < $1.key }.map {
          .object(["hostInterfaceName": .string($0.key), "name": .string($0.value)])
        })
    }
    return .object(edits)
  }
}

extension ContainerDevice {
  /// A function on vfio-pci for a program in user space (DPDK): its group's file, and the one through which groups are put
  /// together. `IOV_PCI_ADDRESS` says in the container which function it is.
  public mutating func give(_ device: VFIODevice, of function: PCIAddress, devices: String = "/dev") {
    files += ["\(devices)/vfio/vfio", device.groupPath].filter { !files.contains($0) }
    if let path = device.devicePath { files.append(path) }
    environment["IOV_PCI_ADDRESS"] = function.description
  }
}

/// Where runtimes look for devices: one file each, so that one that they refuse takes no other with it.
public struct ContainerDeviceDirectory: Sendable {
  /// Of devices that come and go; what an administrator writes lies in /etc/cdi.
  public static let standard = "/var/run/cdi"
  public let path: String

  public init(path: String = ContainerDeviceDirectory.standard) { self.path = path }

  /// A runtime sees the former file or the new one, whole; and one that runs for a user may read it.
  public func write(_ device: ContainerDevice) throws(SystemCallError) {
    try SmallFile.makeDirectory(path, mode: 0o755)
    try SmallFile.replace(file(of: device), with: Array("\(device.document.text)\n".utf8), durably: false, mode: 0o644)
  }

  /// One that is not there is no error.
  public func remove(_ device: ContainerDevice) throws(SystemCallError) {
    for path in [file(of: device), SmallFile.temporary(file(of: device))] { try SmallFile.remove(path) }
  }

  /// Whether a device stands there exactly so.
  public func has(_ device: ContainerDevice) -> Bool { SmallFile.text(file(of: device)) == device.document.text }

  /// The names of the devices of a kind that were written here, sorted: also those that nobody knows of any more.
  public func names(vendor: String, deviceClass: String) -> [String] {
    let prefix = "\(vendor)-\(deviceClass)_"
    return SmallFile.names(in: path).compactMap { name in
      guard name.hasPrefix(prefix), name.hasSuffix(".json") else { return nil }
      return String(name.dropFirst(prefix.count).dropLast(5))
    }
  }

  /// As CDI's own library names the files of devices that come and go.
  private func file(of device: ContainerDevice) -> String {
    "\(path)/\(device.vendor)-\(device.deviceClass)_\(device.name).json"
  }
}
