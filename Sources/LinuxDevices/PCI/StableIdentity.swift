import CLinux
import Glibc

/// The serial number that a card has in its PCI Express configuration space (Device Serial Number capability): one for
/// all functions of a card.
public struct PCIeSerialNumber: Sendable, Hashable, CustomStringConvertible {
  public var value: UInt64

  /// Nil for what makers leave where they wrote none: all zeros, all ones, or those made of a MAC address that is zero
  /// (an EUI-64 with ff-ff or ff-fe in its middle).
  public init?(value: UInt64) {
    guard value != 0, value != .max, value != 0x0000_00ff_ff00_0000, value != 0x0000_00ff_fe00_0000 else { return nil }
    self.value = value
  }

  /// "00-a0-c9-ff-ff-00-00-01", as the kernel and lspci write it.
  public init?(_ text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 8 else { return nil }
    var value: UInt64 = 0
    for part in parts {
      guard part.utf8.count == 2, part.utf8.first != UInt8(ascii: "+"), let octet = UInt8(part, radix: 16) else {
        return nil
      }
      value = value << 8 | UInt64(octet)
    }
    self.init(value: value)
  }

  /// From a function's configuration space. Nil: it has no such capability, or the space ends before it.
  ///
  /// - Parameter word: the 32 bits at an offset, in the machine's byte order; nil beyond the end. Some ten are read of the
  ///   thousand that there are, as each is a question to the card.
  public init?(configurationSpace word: (Int) -> UInt32?) {
    var offset = 0x100
    // A list that leads in circles ends after as many steps as there is room for capabilities.
    for _ in 0..<960 {
      guard let header = word(offset), header != 0, header != .max else { return nil }
      if header & 0xffff == 0x0003 {
        guard let low = word(offset + 4), let high = word(offset + 8) else { return nil }
        self.init(value: UInt64(high) << 32 | UInt64(low))
        return
      }
      offset = Int(header >> 20) & 0xffc
      guard offset >= 0x100 else { return nil }
    }
    return nil
  }

  public var description: String {
    (0..<8).reversed().map { hexadecimal(UInt8(truncatingIfNeeded: value >> (8 * $0)), digits: 2) }.joined(
      separator: "-")
  }
}

/// By what a port of a card is recognised again, on another slot, after a reboot, under another name.
public struct StableIdentity: Sendable, Hashable, CustomStringConvertible {
  /// What it rests on, best first. A slot is the same port only while nobody moves cards, and an address only until the
  /// buses are counted anew.
  public enum Rank: Int, Sendable, Hashable, Comparable {
    case serialNumber, vitalProductData, permanentAddress, slot, address

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  }

  public var rank: Rank
  /// "serial/00-a0-c9-ff-ff-00-00-01/0", "vpd/8086/X1234/0", "mac/52:54:00:aa:00:01", "slot/3/0" or "pci/0000:03:00.0".
  public var text: String

  public var description: String { text }
}

/// What is known of a port, from which its identity is chosen.
public struct IdentityFacts: Sendable, Hashable {
  public var address: PCIAddress
  public var vendor: UInt16
  public var serialNumber: PCIeSerialNumber?
  /// VPD's "SN".
  public var productSerialNumber: String?
  /// Of the port.
  public var permanentMACAddress: MACAddress?
  public var slotLabel: String?
  /// Which port of the function, where one has several.
  public var port: UInt32

  public init(
    address: PCIAddress, vendor: UInt16, serialNumber: PCIeSerialNumber? = nil, productSerialNumber: String? = nil,
    permanentMACAddress: MACAddress? = nil, slotLabel: String? = nil, port: UInt32 = 0
  ) {
    self.address = address
    self.vendor = vendor
    self.serialNumber = serialNumber
    self.productSerialNumber = productSerialNumber
    self.permanentMACAddress = permanentMACAddress
    self.slotLabel = slotLabel
    self.port = port
  }

  /// The best that there is. Serial numbers and slots are the whole card's: the function's number, and the port's where
  /// it is not the first, tell its ports apart. Serial numbers of VPD are a maker's own, hence with the vendor's number.
  public var identity: StableIdentity {
    let part = port == 0 ? "\(address.function)" : "\(address.function)/\(port)"
    if let serialNumber { return StableIdentity(rank: .serialNumber, text: "serial/\(serialNumber)/\(part)") }
    if let productSerialNumber {
      let maker = hexadecimal(vendor, digits: 4)
      return StableIdentity(
        rank: .vitalProductData, text: "vpd/\(maker)/\(Self.word(productSerialNumber))/\(part)")
    }
    if let permanentMACAddress, !permanentMACAddress.isZero, !permanentMACAddress.isMulticast {
      return StableIdentity(rank: .permanentAddress, text: "mac/\(permanentMACAddress)")
    }
    if let slotLabel { return StableIdentity(rank: .slot, text: "slot/\(Self.word(slotLabel))/\(part)") }
    return StableIdentity(rank: .address, text: port == 0 ? "pci/\(address)" : "pci/\(address)/\(port)")
  }

  /// Without what separates parts or words; two that differ only there are not told apart.
  private static func word(_ text: String) -> String {
    String(text.map { $0 == "/" || $0.isWhitespace ? "_" : $0 })
  }
}

extension Sysfs {
  /// From its attribute (kernel 6.19) or, on older kernels, from the configuration space, both for root alone.
  public func serialNumber(of address: PCIAddress) -> PCIeSerialNumber? {
    if let text = text("\(address.sysfsPath)/serial_number") { return PCIeSerialNumber(text) }
    let descriptor = iov_open(path("\(address.sysfsPath)/config"), O_RDONLY, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return PCIeSerialNumber { offset in
      var word: UInt32 = 0
      return pread(descriptor, &word, 4, off_t(offset)) == 4 ? UInt32(littleEndian: word) : nil
    }
  }

  /// Takes milliseconds to seconds: the kernel reads it four bytes at a time from a serial memory.
  public func vitalProductData(of address: PCIAddress) -> VitalProductData? {
    bytes("\(address.sysfsPath)/vpd", atMost: 32 << 10).flatMap { VitalProductData($0) }
  }

  /// What is printed beside the slot, or the name that the firmware gives a device on the board.
  public func slotLabel(of address: PCIAddress) -> String? { slotLabel(of: address, among: slotLabels()) }

  /// The slots of the machine, by what each says it holds: "0000:03:00", without a function.
  func slotLabels() -> [String: String] {
    var slots: [String: String] = [:]
    for name in names(in: "bus/pci/slots") { slots[text("bus/pci/slots/\(name)/address") ?? ""] = name }
    return slots
  }

  func slotLabel(of address: PCIAddress, among slots: [String: String]) -> String? {
    if let label = text("\(address.sysfsPath)/label"), !label.isEmpty { return label }
    // Where a slot holds a switch, the function is somewhere below it.
    return ([address] + upstream(of: address)).lazy.compactMap { slots[$0.slot] }.first
  }
}
