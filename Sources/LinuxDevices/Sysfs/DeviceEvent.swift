/// What the kernel says when a device or a driver comes, changes or goes (a uevent of lib/kobject_uevent.c).
public struct DeviceEvent: Sendable, Hashable {
  public enum Action: String, Sendable, Hashable {
    case add, remove, change, move, online, offline, bind, unbind
  }

  public var action: Action
  /// Below the root of sysfs, without a slash in front: "devices/pci0000:00/0000:00:02.0/0000:01:00.0".
  public var path: String
  /// "pci", "net", "vfio", "iommu", …
  public var subsystem: String
  /// Everything else that it says ("DRIVER", "INTERFACE", "PCI_SLOT_NAME", …).
  public var properties: [String: String]

  /// The function that it is about: itself, or the one nearest above it on the path (of an interface, say).
  public var pciAddress: PCIAddress? {
    path.split(separator: "/").reversed().lazy.compactMap { PCIAddress($0) }.first
  }

  /// The interface that came, changed its name or went.
  public var interface: String? { subsystem == "net" ? properties["INTERFACE"] : nil }

  /// From a datagram: "ACTION@PATH", then "NAME=VALUE" each, all ended by NUL. Nil for anything else, as what a daemon of
  /// user space sends on ("libudev" and a binary header).
  public init?(_ datagram: some Collection<UInt8>) {
    let words = datagram.split(separator: 0, omittingEmptySubsequences: true)
    guard let header = words.first, let at = header.firstIndex(of: UInt8(ascii: "@")),
      let action = Action(rawValue: String(decoding: header[..<at], as: UTF8.self))
    else { return nil }
    self.action = action
    path = String(decoding: header[header.index(after: at)...].drop { $0 == UInt8(ascii: "/") }, as: UTF8.self)
    properties = [:]
    for word in words.dropFirst() {
      guard let equals = word.firstIndex(of: UInt8(ascii: "=")) else { continue }
      properties[String(decoding: word[..<equals], as: UTF8.self)] =
        String(decoding: word[word.index(after: equals)...], as: UTF8.self)
    }
    guard let subsystem = properties.removeValue(forKey: "SUBSYSTEM") else { return nil }
    self.subsystem = subsystem
    for known in ["ACTION", "DEVPATH"] { properties[known] = nil }
  }
}
