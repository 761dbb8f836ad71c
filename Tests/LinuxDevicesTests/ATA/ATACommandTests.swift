import Testing

@testable import LinuxDevices

@Suite struct ATACommandTests {
  private func words(_ change: (inout [UInt16]) -> Void = { _ in }) -> [UInt8] {
    var words = [UInt16](repeating: 0, count: 256)
    func put(_ text: String, _ first: Int, _ count: Int) {
      let bytes = Array((text + String(repeating: " ", count: 40)).utf8)
      for index in 0..<count { words[first + index] = UInt16(bytes[2 * index]) << 8 | UInt16(bytes[2 * index + 1]) }
    }
    put("N1SATA0", 10, 10)
    put("2.5+", 23, 4)
    put("QEMU HARDDISK", 27, 20)
    words[59] = 1 << 12 | 1 << 15
    words[69] = 1 << 14 | 1 << 5
    words[82] = 1 | 1 << 5
    words[83] = 1 << 14 | 1 << 10
    words[85] = 1 | 1 << 5
    words[87] = 1 << 14 | 1 << 8
    words[100] = 0x8000
    words[101] = 0x2
    words[106] = 1 << 14 | 1 << 13 | 3
    (words[108], words[109], words[110], words[111]) = (0x5000, 0xc500, 0x1111, 0x0010)
    words[128] = 0x29
    words[169] = 1
    words[209] = 1 << 14 | 1
    words[217] = 1
    change(&words)
    return words.flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }
  }

  private func identity(_ bytes: [UInt8]) throws -> ATAIdentity {
    try IdentifyDevice().answer(to: SCSIAnswer(data: bytes))
  }

  @Test func aDriveSaysWhatItIs() throws {
    let drive = try identity(words())
    #expect([drive.serialNumber, drive.firmware, drive.model] == ["N1SATA0", "2.5+", "QEMU HARDDISK"])
    #expect(drive.name?.text == "naa.5000c50011110010")
    #expect(drive.sectors == 0x28000 && drive.sizeBytes == 0x28000 * 512)
    #expect(drive.logicalSectorBytes == 512 && drive.physicalSectorBytes == 4096 && drive.alignmentOffsetSectors == 1)
    #expect(drive.rotation == .solidState && drive.hasTrim && drive.afterTrim == .zeros)
    #expect(drive.hasSMART && drive.isSMARTEnabled && drive.cachesWrites)
    #expect(drive.security == [.supported, .frozen, .enhancedErase])
    #expect(drive.sanitize == [.supported, .blockErase])
  }

  @Test func wordsThatSayNothingCountForNothing() throws {
    let drive = try identity(
      words {
        $0[87] = 1 << 8
        $0[106] = 1 << 13 | 3
        $0[209] = 1
        $0[69] = 1 << 14
        $0[60] = 0x1000
        $0[83] = 0
      })
    #expect(drive.worldWideName == nil && drive.physicalSectorBytes == 512 && drive.alignmentOffsetSectors == 0)
    #expect(drive.name?.text == "serial.ATA.QEMU-HARDDISK.N1SATA0")
    #expect(drive.afterTrim == .deterministic && drive.sectors == 0x1000)
  }

  @Test func longSectorsAreRead() throws {
    let drive = try identity(
      words {
        $0[106] = 1 << 14 | 1 << 12
        $0[117] = 2048
      })
    #expect(drive.logicalSectorBytes == 4096 && drive.physicalSectorBytes == 4096)
  }

  @Test func wordsThatCannotBeAreRefused() {
    #expect(throws: MalformedAnswer.self) { try identity(Array(words().dropLast())) }
    #expect(throws: MalformedAnswer.self) { try identity(words { $0[255] = 0x01a5 }) }
    #expect(throws: MalformedAnswer.self) {
      try identity(
        words {
          $0[100] = 0
          $0[101] = 0
        })
    }
    let sum = words { $0[255] = 0x00a5 }.reduce(0, &+)
    #expect(throws: Never.self) { try identity(words { $0[255] = 0xa5 | UInt16(0 &- sum) << 8 }) }
  }

  @Test func theKernelsAttributeHoldsTheSameWords() throws {
    let bytes = words()
    let text = stride(from: 0, to: 512, by: 2).map { index in
      hexadecimal(UInt16(bytes[index]) | UInt16(bytes[index + 1]) << 8, digits: 4) + (index % 16 == 14 ? "\n" : " ")
    }.joined()
    #expect(try ATAIdentity(sysfs: text) == identity(bytes))
    #expect(throws: MalformedAnswer.self) { try ATAIdentity(sysfs: "zzzz") }
    #expect(throws: MalformedAnswer.self) { try ATAIdentity(sysfs: "") }
  }

  @Test func commandsAreWrittenAsTheStandardsSay() {
    #expect(IdentifyDevice().block == [0x85, 0x08, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0])
    #expect(SMARTReturnStatus().block == [0x85, 0x06, 0x20, 0, 0xda, 0, 0, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0])
    #expect(SMARTReadData().block == [0x85, 0x08, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0])
  }

  @Test(arguments: [(0x4f, 0xc2, false), (0xf4, 0x2c, true)] as [(UInt8, UInt8, Bool)])
  func whetherADriveExpectsToFailStandsInItsRegisters(middle: UInt8, high: UInt8, failing: Bool) throws {
    let descriptor: [UInt8] = [
      0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 0, 0, 0, 0, 0, 0, 0, middle, 0, high, 0, 0x50,
    ]
    let fixed: [UInt8] = [0x70, 0, 1, 0, 0x50, 0, 0, 10, 0, 0, middle, high, 0, 0x1d, 0, 0, 0, 0]
    for bytes in [descriptor, fixed] {
      #expect(try SMARTReturnStatus().answer(to: SCSIAnswer(sense: SCSISense(bytes))) == failing)
    }
    #expect(throws: MalformedAnswer.self) { try SMARTReturnStatus().answer(to: SCSIAnswer()) }
    var other = fixed
    other[10] = 1
    #expect(throws: MalformedAnswer.self) { try SMARTReturnStatus().answer(to: SCSIAnswer(sense: SCSISense(other))) }
  }

  @Test func attributesThatMatterToHealthAreRead() throws {
    var bytes = [UInt8](repeating: 0, count: 512)
    let attributes: [[UInt8]] = [
      [5, 0x33, 0, 100, 99, 8, 0, 7, 0, 0, 0, 0], [197, 0x12, 0, 100, 100, 3, 0, 0, 0, 0, 0, 0],
      [194, 0x22, 0, 64, 50, 36, 0, 20, 0, 50, 0, 0], [9, 0x32, 0, 98, 98, 0x10, 0x27, 0, 0xff, 0, 0, 0],
    ]
    for (index, attribute) in attributes.enumerated() {
      bytes.replaceSubrange(2 + 12 * index..<14 + 12 * index, with: attribute)
    }
    bytes[511] = 0 &- bytes.reduce(0, &+)
    let data = try SMARTReadData().answer(to: SCSIAnswer(data: bytes))
    #expect(data.reallocatedSectors == 8 && data.pendingSectors == 3 && data.celsius == 36)
    #expect(data.powerOnHours == 10000 && data.offlineUncorrectable == nil)
    #expect(data.attributes[5]?.value == 100 && data.attributes[5]?.worst == 99)
    bytes[7] ^= 1
    #expect(throws: MalformedAnswer.self) { try SMARTReadData().answer(to: SCSIAnswer(data: bytes)) }
    #expect(throws: MalformedAnswer.self) { try SMARTReadData().answer(to: SCSIAnswer(data: [])) }
  }
}
