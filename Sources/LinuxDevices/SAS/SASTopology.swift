/// What names a SAS port or device for good.
public struct SASAddress: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let value: UInt64

  /// Nil for zero, which stands for "nothing attached".
  public init?(_ value: UInt64) {
    guard value != 0 else { return nil }
    self.value = value
  }

  /// "0x5000c50000000001" as the kernel writes it; nil for anything else.
  public init?(_ text: some StringProtocol) {
    guard let value = UInt64(hexadecimal: text) else { return nil }
    self.init(value)
  }

  /// "5000c50000000001"
  public var description: String { hexadecimal(value, digits: 16) }

  public static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// SAS as this host sees it, by its adapters: what is where, by names that stay (drivers/scsi/scsi_transport_sas.c of the
/// kernel makes these classes).
public struct SASTopology: Sendable, Hashable {
  /// Sorted by number.
  public var adapters: [SASAdapter]
  public var expanders: [SASExpander]
  public var endDevices: [SASEndDevice]
  public var enclosures: [Enclosure]

  /// The device that a disk's path leads to.
  public func endDevice(_ address: SASAddress) -> SASEndDevice? { endDevices.first { $0.address == address } }

  /// The slot that holds an end device, by what the device says of itself, else by what the enclosure says of its slots.
  public func slot(of device: SASEndDevice) -> (enclosure: SASAddress?, slot: UInt32)? {
    if let bay = device.bay { return (device.enclosure, bay) }
    for enclosure in enclosures {
      for slot in enclosure.slots where slot.unitAddress.map({ device.unitAddresses.contains($0) }) == true {
        if let number = slot.number { return (enclosure.identifier, number) }
      }
    }
    return nil
  }
}

/// A host adapter with SAS classes. RAID adapters that hide their disks have none.
public struct SASAdapter: Sendable, Hashable {
  public var controller: SCSIController
  /// Its own; several where each phy has one, and none where the driver does not tell: its place on the PCI bus is then all
  /// that is known of it.
  public var addresses: [SASAddress]
  /// "LSISAS1068", and the firmware's version, where the driver tells.
  public var boardName: String?
  public var firmwareVersion: String?
  /// Sorted by identifier.
  public var phys: [SASPhy]
  public var ports: [SASPort]

  public var identity: SASAddress? { addresses.first }
}

/// A transceiver, of an adapter or an expander.
public struct SASPhy: Sendable, Hashable {
  public var identifier: UInt32
  public var address: SASAddress?
  /// "port-0:1"; nil: nothing is attached.
  public var port: String?
  public var isEnabled: Bool
  public var negotiated: SASLinkRate
  /// As set, at most what the hardware can.
  public var maximum: SASLinkRate
  /// Nil: the driver does not tell.
  public var errors: SASLinkErrors?
}

public enum SASLinkRate: Sendable, Hashable {
  case megabitsPerSecond(UInt32)
  /// "Unknown", "Phy disabled", "Link Rate failed", "Spin-up hold": there is no link.
  case none(String)

  /// "6.0 Gbit" as the kernel writes it.
  init(_ text: String?) {
    let text = text ?? "Unknown"
    let known: [String: UInt32] = [
      "1.5 Gbit": 1500, "3.0 Gbit": 3000, "6.0 Gbit": 6000, "12.0 Gbit": 12000, "22.5 Gbit": 22500,
    ]
    self = known[text].map { .megabitsPerSecond($0) } ?? .none(text)
  }

  public var megabitsPerSecond: UInt32? { if case .megabitsPerSecond(let rate) = self { rate } else { nil } }
}

/// Since the phy was reset; they only grow.
public struct SASLinkErrors: Sendable, Hashable {
  public var invalidWords: UInt32
  public var disparityErrors: UInt32
  public var synchronizationLosses: UInt32
  public var resetProblems: UInt32

  public var total: UInt64 {
    UInt64(invalidWords) + UInt64(disparityErrors) + UInt64(synchronizationLosses) + UInt64(resetProblems)
  }
}

/// Phys that lead to the same device: a link of their joint width.
public struct SASPort: Sendable, Hashable {
  /// "port-0:1", until the next change.
  public var name: String
  public var phys: [UInt32]
  public var attached: SASAddress?
}

public struct SASExpander: Sendable, Hashable {
  public var address: SASAddress
  public var vendor: String
  public var product: String
  public var revision: String
  /// Nil: an edge expander has none above it.
  public var level: UInt32?
  public var phys: [SASPhy]
}

/// What a link ends in: a disk, an enclosure's processor.
public struct SASEndDevice: Sendable, Hashable {
  public var address: SASAddress
  /// Where it is plugged in, as its adapter knows it.
  public var enclosure: SASAddress?
  public var bay: UInt32?
  /// "ssp", "stp", "sata", "smp".
  public var targetProtocols: [String]
  /// The slowest link on the way to it says how fast it can be; this is that of its own port.
  public var port: String?
  /// The expander that it is behind; nil: behind the adapter's own phys.
  public var expander: SASAddress?
  public var controller: SCSIController
  /// "2:0:1:0": the units that it has, for `Sysfs.scsiUnitPath`.
  public var unitAddresses: [String]

  /// A SATA disk, which speaks through the expander or adapter.
  public var isSATA: Bool {
    targetProtocols.contains("sata") || targetProtocols.contains("stp") && !targetProtocols.contains("ssp")
  }
}
