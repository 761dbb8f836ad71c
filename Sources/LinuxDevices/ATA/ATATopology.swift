/// A port of a SATA controller, with what hangs on it (drivers/ata/libata-transport.c of the kernel makes these classes).
public struct SATAPort: Sendable, Hashable {
  /// Counts all ports of the machine, until the next boot: "ata3" in the kernel's log.
  public var number: UInt32
  /// On its controller, from 1; this is what is written on the board.
  public var controllerPort: UInt32?
  /// Nil where the controller is on no PCI bus.
  public var controller: PCIAddress?
  /// Nil: it is a drive, or nothing, and no port multiplier.
  public var multiplierLinks: UInt32?
  public var links: [SATALink]
}

/// From a port to a drive, by way of a port multiplier where there is one.
public struct SATALink: Sendable, Hashable {
  /// The port multiplier's own port; nil: the link is the port's.
  public var multiplierPort: UInt32?
  /// Nil: there is no link.
  public var megabitsPerSecond: UInt32?
  public var devices: [ATADevice]
}

public struct ATADevice: Sendable, Hashable {
  /// "dev3.0", until the next boot.
  public var name: String
  /// "ata", "atapi", "pmp" for a port multiplier; a place without a drive is left out.
  public var kind: String
  /// What the kernel read when it found it; nil: it cannot be read.
  public var identity: ATAIdentity?
  /// "3:0:0:0", for `Sysfs.scsiUnitPath`; nil: no driver took it.
  public var unitAddress: String?
}

extension Sysfs {
  /// All SATA ports of this host, sorted by number.
  public func sataPorts() -> [SATAPort] {
    names(in: "class/ata_port").compactMap { sataPort($0) }.sorted { $0.number < $1.number }
  }

  private func sataPort(_ name: String) -> SATAPort? {
    guard name.hasPrefix("ata"), let number = UInt32(name.dropFirst(3)),
      let place = resolved("class/ata_port/\(name)/device")
    else { return nil }
    let inside = names(in: "class/ata_port/\(name)/device")
    let host = inside.first { $0.hasPrefix("host") }
    let multiplier: UInt32? = integer("class/ata_port/\(name)/nr_pmp_links")
    return SATAPort(
      number: number, controllerPort: integer("class/ata_port/\(name)/port_no"),
      controller: place.split(separator: "/").reversed().lazy.compactMap { PCIAddress($0) }.first,
      multiplierLinks: multiplier == 0 ? nil : multiplier,
      links: inside.filter { $0.hasPrefix("link") }.map { sataLink($0, "class/ata_port/\(name)/device", host) }.sorted {
        ($0.multiplierPort ?? 0, $0.multiplierPort == nil ? 0 : 1) < (
          $1.multiplierPort ?? 0, $1.multiplierPort == nil ? 0 : 1
        )
      })
  }

  /// "link3", or "link3.1" of a port multiplier's port 1.
  private func sataLink(_ name: String, _ port: String, _ host: String?) -> SATALink {
    let parts = name.split(separator: ".")
    let multiplierPort = parts.count == 2 ? UInt32(parts[1]) : nil
    let devices = names(in: "\(port)/\(name)").filter { $0.hasPrefix("dev") }
    return SATALink(
      multiplierPort: multiplierPort, megabitsPerSecond: Self.sataSpeed(text("class/ata_link/\(name)/sata_spd")),
      devices: devices.compactMap { device in
        let target = host.flatMap { unitAddress("\(port)/\($0)", device, multiplierPort) }
        return ataDevice(device, target)
      })
  }

  private func ataDevice(_ name: String, _ unitAddress: String?) -> ATADevice? {
    let node = "class/ata_device/\(name)"
    // "unknown" is a place that was never looked at, as the second one of a port without a drive.
    guard let kind = text("\(node)/class"), kind != "none", kind != "unknown" else { return nil }
    // A port multiplier is no unit of its own.
    let isDrive = kind == "ata" || kind == "atapi"
    return ATADevice(
      name: name, kind: kind, identity: text("\(node)/id").flatMap { try? ATAIdentity(sysfs: $0) },
      unitAddress: isDrive ? unitAddress : nil)
  }

  /// libata makes a port multiplier's port the channel, and master and slave of a parallel port targets of channel 0.
  private func unitAddress(_ host: String, _ device: String, _ multiplierPort: UInt32?) -> String? {
    guard let number = host.split(separator: "/").last?.dropFirst("host".count) else { return nil }
    let index = device.split(separator: ".").dropFirst().first.map(String.init) ?? "0"
    let target = multiplierPort.map { "\(number):\($0):0" } ?? "\(number):0:\(index)"
    return exists("\(host)/target\(target)/\(target):0") ? "\(target):0" : nil
  }

  /// "6.0 Gbps"
  private static func sataSpeed(_ text: String?) -> UInt32? {
    let known: [String: UInt32] = ["1.5 Gbps": 1500, "3.0 Gbps": 3000, "6.0 Gbps": 6000]
    return text.flatMap { known[$0] }
  }
}
