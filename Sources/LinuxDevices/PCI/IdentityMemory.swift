import Synchronization

/// What ports of cards say of themselves, read once for each: a serial memory takes up to seconds.
public final class IdentityMemory: Sendable {
  /// Another card in the same place has another address.
  private struct Key: Hashable {
    var address: PCIAddress
    var permanentAddress: MACAddress?
    var port: UInt32
  }

  private let known = Mutex<[Key: IdentityFacts]>([:])

  public init() {}

  public func forget() { known.withLock { $0 = [:] } }

  /// Nil for what is on no PCI bus.
  ///
  /// - Parameter slots: as `Sysfs.slotLabels` has them, if they were read already.
  public func facts(of link: Link, _ sysfs: Sysfs, slots: [String: String]? = nil) -> IdentityFacts? {
    guard let address = link.pciAddress else { return nil }
    let port: UInt32 = sysfs.integer("\(address.sysfsPath)/net/\(link.name)/dev_port") ?? 0
    let key = Key(address: address, permanentAddress: link.permanentMACAddress, port: port)
    if let facts = known.withLock({ $0[key] }) { return facts }
    guard let vendor: UInt16 = sysfs.integer("\(address.sysfsPath)/vendor") else { return nil }
    let serialNumber = sysfs.serialNumber(of: address)
    let facts = IdentityFacts(
      address: address, vendor: vendor, serialNumber: serialNumber,
      productSerialNumber: serialNumber == nil ? sysfs.vitalProductData(of: address)?.serialNumber : nil,
      permanentMACAddress: link.permanentMACAddress,
      slotLabel: sysfs.slotLabel(of: address, among: slots ?? sysfs.slotLabels()), port: port)
    known.withLock { $0[key] = facts }
    return facts
  }
}
