import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct StableIdentityTests {
  private let card = PCIAddress(bus: 1, device: 0, function: 1)

  @Test func theBestFactThatIsThereNamesThePort() throws {
    var facts = IdentityFacts(
      address: card, vendor: 0x8086, serialNumber: PCIeSerialNumber("a0-36-9f-ff-ff-12-34-56"),
      productSerialNumber: "X 12/34", permanentMACAddress: MACAddress("52:54:00:aa:00:01"), slotLabel: "3")
    #expect(facts.identity.text == "serial/a0-36-9f-ff-ff-12-34-56/1")
    facts.serialNumber = nil
    #expect(facts.identity.text == "vpd/8086/X_12_34/1")
    facts.productSerialNumber = nil
    #expect(facts.identity.text == "mac/52:54:00:aa:00:01")
    facts.permanentMACAddress = MACAddress("00:00:00:00:00:00")
    #expect(facts.identity.text == "slot/3/1")
    facts.slotLabel = nil
    facts.port = 2
    #expect(facts.identity.text == "pci/0000:01:00.1/2")
    #expect(facts.identity.rank > .slot)
  }

  @Test func twoPortsOfOneFunctionDiffer() {
    var facts = IdentityFacts(address: card, vendor: 0x15b3, serialNumber: PCIeSerialNumber(value: 5))
    let first = facts.identity
    facts.port = 1
    #expect(facts.identity != first)
  }

  @Test(arguments: [
    "00-00-00-00-00-00-00-00", "ff-ff-ff-ff-ff-ff-ff-ff", "00-00-00-ff-ff-00-00-00", "00-00-00-ff-fe-00-00-00",
    "a0-36-9f-ff-ff-12-34", "a0-36-9f-ff-ff-12-34-5", "a0-36-9f-ff-ff-12-34-+6", "",
  ])
  func aSerialNumberThatNobodyWroteIsNone(text: String) {
    #expect(PCIeSerialNumber(text) == nil)
  }

  /// A configuration space with two extended capabilities, the second of which is the serial number.
  private func configurationSpace(first: UInt32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    func put(_ value: UInt32, at offset: Int) {
      for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }
    put(first, at: 0x100)
    put(0x0001_0003, at: 0x140)
    put(0xff12_3456, at: 0x144)
    put(0xa036_9fff, at: 0x148)
    return bytes
  }

  private func serialNumber(_ bytes: some RandomAccessCollection<UInt8>) -> PCIeSerialNumber? {
    let bytes = Array(bytes)
    return PCIeSerialNumber { bytes.integer(at: $0, as: UInt32.self).map(UInt32.init(littleEndian:)) }
  }

  @Test func theSerialNumberIsFoundInTheConfigurationSpace() {
    let bytes = configurationSpace(first: 0x140_1_0001)
    #expect(serialNumber(bytes)?.description == "a0-36-9f-ff-ff-12-34-56")
    for length in 0..<0x14c { #expect(serialNumber(bytes[..<length]) == nil) }
  }

  @Test(arguments: [0x100_1_0001, 0x000_1_0001, 0x004_1_0001, 0xfff_1_0001, 0xffff_ffff, 0] as [UInt32])
  func aListOfCapabilitiesThatLeadsNowhereEnds(first: UInt32) {
    #expect(serialNumber(configurationSpace(first: first)) == nil)
  }

  @Test func theAttributeComesBeforeTheConfigurationSpace() throws {
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: PCIAddress(bus: 0, device: 2, function: 0)))
    #expect(kernel.sysfs.serialNumber(of: card) == nil)
    kernel.put(configurationSpace(first: 0x140_1_0001), at: "\(card.sysfsPath)/config")
    #expect(kernel.sysfs.serialNumber(of: card)?.value == 0xa036_9fff_ff12_3456)
    kernel.put("00-a0-c9-ff-ff-00-00-01", at: "\(card.sysfsPath)/serial_number")
    #expect(kernel.sysfs.serialNumber(of: card)?.value == 0x00a0_c9ff_ff00_0001)
  }

  @Test func theSlotIsTheNearestOneAboveTheFunction() throws {
    let kernel = try FakeKernel()
    let port = PCIAddress(bus: 0, device: 2, function: 0)
    kernel.addCard(.init(address: card, port: port))
    #expect(kernel.sysfs.slotLabel(of: card) == nil)
    for (name, address) in [("7", "0000:00:02"), ("3-1", "0000:05:00")] {
      kernel.make("bus/pci/slots/\(name)")
      kernel.put(address, at: "bus/pci/slots/\(name)/address")
    }
    #expect(kernel.sysfs.slotLabel(of: card) == "7")
    kernel.make("bus/pci/slots/9")
    kernel.put("0000:01:00", at: "bus/pci/slots/9/address")
    #expect(kernel.sysfs.slotLabel(of: card) == "9")
    kernel.put("Onboard LAN 2", at: "\(card.sysfsPath)/label")
    #expect(kernel.sysfs.slotLabel(of: card) == "Onboard LAN 2")
  }

  // MARK: Vital product data

  /// Name "Card", part number "P1", serial number "SN7", checksum.
  private var product: [UInt8] {
    var bytes: [UInt8] = [0x82, 4, 0] + Array("Card".utf8)
    let fields =
      Array("PN".utf8) + [2] + Array("P1".utf8) + Array("SN".utf8) + [5] + Array("SN7  ".utf8) + Array("RV".utf8) + [2]
    bytes += [0x90, UInt8(fields.count + 2), 0] + fields
    return bytes + [0 &- bytes.reduce(0, &+), 0, 0x78]
  }

  @Test func vitalProductDataIsRead() throws {
    let data = try #require(VitalProductData(product))
    #expect(data.name == "Card")
    #expect(data.partNumber == "P1")
    #expect(data.serialNumber == "SN7")
  }

  @Test func vitalProductDataThatIsCutShortIsNone() {
    // Without the end tag it is whole all the same.
    #expect(VitalProductData(product.dropLast()) != nil)
    for length in 0..<product.count - 1 { #expect(VitalProductData(product.prefix(length)) == nil) }
  }

  @Test func noByteOfVitalProductDataMayDiffer() {
    // Up to the keyword of the checksum, without which there is nothing to check.
    for index in 0..<product.count - 6 {
      var bytes = product
      bytes[index] ^= 0x10
      #expect(VitalProductData(bytes) == nil)
    }
  }

  @Test func anythingAtAllIsReadWithinItsBounds() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0...64, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      _ = VitalProductData([0x90] + bytes)
      _ = VitalProductData(bytes)
    }
  }
}
