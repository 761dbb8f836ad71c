/// One way from this host to a logical unit, as sysfs shows it: what the kernel calls a SCSI device, and a disk's "sdX".
public struct SCSIUnitPath: Sendable, Hashable {
  /// "2:0:1:0", for people: the kernel counts hosts and targets anew at every boot and after every link reset.
  public var address: String
  /// "sda"; nil: it is no disk, or no driver has taken it.
  public var blockName: String?
  /// "sg0".
  public var genericName: String?
  /// 0: a disk; 0x0d: an enclosure.
  public var deviceType: UInt8?
  public var vendor: String
  public var product: String
  public var revision: String
  public var serialNumber: String?
  /// The best that there is; nil: the device tells nothing by which it could be known again.
  public var name: DiskName?
  public var relativeTargetPort: UInt16?
  public var state: State
  public var attachment: SCSIAttachment
  public var controller: SCSIController

  public enum State: Sendable, Hashable {
    case running
    /// "offline", "transport-offline", "blocked", "quiesce", "deleted" …
    case notRunning(String)
  }

  /// Where commands are sent to: the sg device, which no one claims for a file system, else the disk.
  public func devicePath(under devices: String = "/dev") -> String? {
    (genericName ?? blockName).map { "\(devices)/\($0)" }
  }
}

/// Through what a path leads.
public enum SCSIAttachment: Sendable, Hashable {
  /// By the address of the port at the device's end.
  case sas(SASAddress?)
  case iSCSI(target: String, portal: String?)
  /// By the world-wide name of the remote port.
  case fibreChannel(UInt64?)
  /// A SATA disk below libata, which translates.
  case ata(port: UInt32)
  case usb
  /// A RAID controller's volume, a virtual disk, a target on this same host …: what the controller's driver is called.
  case other(driver: String)

  /// Whether several hosts may see what is behind it.
  public var mayBeShared: Bool {
    switch self {
    case .sas, .iSCSI, .fibreChannel: true
    // Host adapters of RAID clusters and tcm_loop share as well; the reservation tells.
    case .other: true
    case .ata, .usb: false
    }
  }
}

/// The host adapter of a path.
public struct SCSIController: Sendable, Hashable {
  public var number: UInt32
  /// "mptsas", "megaraid_sas", "iscsi_tcp", "ahci".
  public var driver: String
  /// Nil where it is on no PCI bus.
  public var address: PCIAddress?

  public init(number: UInt32, driver: String, address: PCIAddress?) {
    self.number = number
    self.driver = driver
    self.address = address
  }
}

/// A logical unit with all paths to it: one disk, however many "sdX" it has.
public struct SCSIUnit: Sendable, Hashable {
  /// Nil only where there is one path, to a device that has no name.
  public var name: DiskName?
  /// Sorted by address.
  public var paths: [SCSIUnitPath]

  /// What several paths lead to is one unit by its name alone. Sorted by name; those without come last.
  public static func grouped(_ paths: [SCSIUnitPath]) -> [SCSIUnit] {
    var named: [DiskName: [SCSIUnitPath]] = [:]
    var nameless: [SCSIUnit] = []
    for path in paths.sorted(by: { $0.address < $1.address }) {
      if let name = path.name {
        named[name, default: []].append(path)
      } else {
        nameless.append(SCSIUnit(name: nil, paths: [path]))
      }
    }
    return named.map { SCSIUnit(name: $0, paths: $1) }.sorted { ($0.name?.text ?? "") < ($1.name?.text ?? "") }
      + nameless
  }
}

extension Sysfs {
  /// All paths to all logical units that this host has now. What goes meanwhile is left out.
  public func scsiUnitPaths() -> [SCSIUnitPath] {
    names(in: "bus/scsi/devices").compactMap { scsiUnitPath($0) }
  }

  /// Nil: it is no logical unit ("host0", "target0:0:0"), or it is gone.
  public func scsiUnitPath(_ address: String) -> SCSIUnitPath? {
    guard address.split(separator: ":").count == 4, let place = resolved("bus/scsi/devices/\(address)") else {
      return nil
    }
    let node = "bus/scsi/devices/\(address)"
    let parts = place.split(separator: "/")
    guard let controller = scsiController(above: parts), let state = text("\(node)/state") else { return nil }
    let identification = page(VitalProductPage.deviceIdentification, "\(node)/vpd_pg83")
    let serialNumber = page(VitalProductPage.unitSerialNumber, "\(node)/vpd_pg80").flatMap { $0.isEmpty ? nil : $0 }
    let (vendor, product) = (text("\(node)/vendor") ?? "", text("\(node)/model") ?? "")
    return SCSIUnitPath(
      address: address, blockName: names(in: "\(node)/block").first,
      genericName: names(in: "\(node)/scsi_generic").first, deviceType: integer("\(node)/type"), vendor: vendor,
      product: product, revision: text("\(node)/rev") ?? "", serialNumber: serialNumber,
      name: identification?.logicalUnitIdentity ?? text("\(node)/wwid").flatMap { DiskName(sysfs: $0) }
        ?? serialNumber.map { DiskName(vendor: vendor, product: product, serialNumber: $0) },
      relativeTargetPort: identification?.relativeTargetPort,
      state: state == "running" ? .running : .notRunning(state),
      attachment: attachment(parts, controller.driver), controller: controller)
  }

  /// Pages that the kernel read when it found the device, each as a binary attribute.
  private func page<Answer>(_ page: VitalProductPage<Answer>, _ path: String) -> Answer? {
    bytes(path, atMost: 4096).flatMap { try? page.answer(to: SCSIAnswer(data: $0)) }
  }

  func scsiController(above place: [Substring]) -> SCSIController? {
    guard let index = place.firstIndex(where: { $0.isNumbered("host") }), let number = UInt32(place[index].dropFirst(4))
    else { return nil }
    return SCSIController(
      number: number, driver: text("class/scsi_host/host\(number)/proc_name") ?? "",
      address: place[..<index].reversed().lazy.compactMap { PCIAddress($0) }.first)
  }

  private func attachment(_ place: [Substring], _ driver: String) -> SCSIAttachment {
    for part in place.reversed() {
      if part.hasPrefix("end_device-") {
        return .sas(SASAddress(text("class/sas_device/\(part)/sas_address") ?? ""))
      }
      if part.isNumbered("session") { return iSCSI(session: part) }
      if part.hasPrefix("rport-") {
        return .fibreChannel(text("class/fc_remote_ports/\(part)/port_name").flatMap { UInt64(hexadecimal: $0) })
      }
      if part.isNumbered("ata"), let port = UInt32(part.dropFirst(3)) { return .ata(port: port) }
      if part.isNumbered("usb") { return .usb }
    }
    return .other(driver: driver)
  }

  private func iSCSI(session: Substring) -> SCSIAttachment {
    let number = session.dropFirst("session".count)
    let connection = names(in: "class/iscsi_connection").first { $0.hasPrefix("connection\(number):") }
    let address = connection.flatMap { text("class/iscsi_connection/\($0)/persistent_address") }
    let port = connection.flatMap { text("class/iscsi_connection/\($0)/persistent_port") }
    return .iSCSI(
      target: text("class/iscsi_session/\(session)/targetname") ?? "",
      portal: address.map { address in
        let host = address.contains(":") ? "[\(address)]" : address
        return port.map { "\(host):\($0)" } ?? host
      })
  }
}

extension DiskName {
  /// From the attribute `wwid`; nil for what begins in no known way.
  public init?(sysfs text: String) {
    let ranks: [(String, Rank)] = [
      ("naa.6", .naaExtended), ("naa.5", .naaRegistered), ("naa.2", .naaRegistered), ("naa.3", .naaLocal),
      ("eui.", .eui64), ("uuid.", .uuid), ("t10.", .t10),
    ]
    guard let rank = ranks.first(where: { text.hasPrefix($0.0) })?.1,
      text.utf8.dropFirst(4).contains(where: { $0 != 0x30 })
    else { return nil }
    self.init(rank: rank, text: text)
  }

  /// A serial number is its maker's own, and perhaps only the model's.
  public init(vendor: String, product: String, serialNumber: String) {
    let words = [vendor, product, serialNumber].map { $0.split(separator: " ").joined(separator: "-") }
    self.init(rank: .serialNumber, text: "serial." + words.joined(separator: "."))
  }
}

extension Substring {
  /// "host12" for "host".
  fileprivate func isNumbered(_ word: String) -> Bool {
    hasPrefix(word) && utf8.count > word.utf8.count
      && utf8.dropFirst(word.utf8.count).allSatisfy { (0x30...0x39).contains($0) }
  }
}

extension UInt64 {
  /// With or without "0x".
  init?(hexadecimal text: some StringProtocol) {
    let digits = text.hasPrefix("0x") ? text.dropFirst(2) : text.dropFirst(0)
    guard !digits.hasPrefix("+"), !digits.hasPrefix("-") else { return nil }
    self.init(digits, radix: 16)
  }
}
