import Testing

@testable import LinuxDevices

/// How commands are written and answers read, by bytes as disks send them.
@Suite struct SCSICommandTests {
  private func answer<Command: SCSICommand>(_ command: Command, _ bytes: [UInt8]) throws -> Command.Answer {
    try command.answer(to: SCSIAnswer(data: bytes))
  }

  private func text(_ text: String, _ length: Int) -> [UInt8] {
    Array((text + String(repeating: " ", count: length)).utf8.prefix(length))
  }

  @Test func aDiskSaysWhoItIs() throws {
    let bytes: [UInt8] =
      [0, 0, 6, 0x12, 91, 0x10, 0x10, 2] + text("SEAGATE", 8) + text("ST300MM0048", 16) + text("N0A1", 4)
    let data = try answer(Inquiry(), bytes)
    #expect(data.isDisk && data.isConnected && data.hasSeveralPorts && data.hasAsymmetricAccess && !data.isRemovable)
    #expect([data.vendor, data.product, data.revision] == ["SEAGATE", "ST300MM0048", "N0A1"])
    #expect(throws: MalformedAnswer.self) { try answer(Inquiry(), Array(bytes.dropLast())) }
    #expect(throws: MalformedAnswer.self) { try answer(Inquiry(), []) }
  }

  @Test func theBestNameOfALogicalUnitIsChosenAndThoseOfPortsAreNot() throws {
    var page: [UInt8] = [0x02, 0x00, 0, 11] + text("LIO-ORG name", 11)
    page += [0x61, 0x93, 0, 8, 0x50, 0, 0xc5, 0, 0x9e, 0xd1, 0xe4, 0x89]
    page += [0x61, 0x94, 0, 4, 0, 0, 0, 2]
    page += [0x02, 0x01, 0, 16] + text("LIO-ORG block0", 16)
    page += [0x01, 0x03, 0, 8, 0x50, 0, 0xc5, 0, 0x9e, 0xd1, 0xe4, 0x8b]
    page += [0x01, 0x03, 0, 16, 0x60, 1, 0x40, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    let names = try answer(VitalProductPage.deviceIdentification, [0, 0x83, 0, UInt8(page.count)] + page)
    #expect(names.logicalUnitIdentity?.text == "naa.60014005010203040506070809" + "0a0b0c")
    #expect(names.targetPortNames.map(\.text) == ["naa.5000c5009ed1e489"])
    #expect(names.relativeTargetPort == 2)
    #expect(names.designators.first { $0.subject == .targetPort }?.protocolIdentifier == 6)
    // Cut off in the last name: the one before it counts.
    let short = try answer(VitalProductPage.deviceIdentification, [0, 0x83, 0, UInt8(page.count)] + page.dropLast())
    #expect(short.logicalUnitIdentity?.text == "naa.5000c5009ed1e48b")
  }

  @Test func namesOfZerosAreNone() throws {
    let page: [UInt8] =
      [1, 3, 0, 8] + [UInt8](repeating: 0, count: 8) + [1, 2, 0, 8] + [UInt8](repeating: 0, count: 8)
    #expect(try answer(VitalProductPage.deviceIdentification, [0, 0x83, 0, 24] + page).logicalUnitIdentity == nil)
    #expect(DiskName(.naa([0x50] + [UInt8](repeating: 0, count: 7))) == nil)
    #expect(
      DiskName(.uuid([UInt8](1...16)))?.text == "uuid.01020304-0506-0708-090a-0b0c0d0e0f10")
    #expect(DiskName(.eui64([0, 0x25, 0x38, 0x5b, 0x71, 0xb0, 0x0b, 0x0a]))?.text == "eui.0025385b71b00b0a")
  }

  @Test func aPageOfAnotherNumberIsRefused() {
    // What devices without such pages answer: standard data.
    #expect(throws: MalformedAnswer.self) {
      try answer(VitalProductPage.unitSerialNumber, [0, 0, 6, 0x12] + [UInt8](repeating: 0x20, count: 32))
    }
  }

  @Test func serialNumbersAndPagesAreRead() throws {
    #expect(
      try answer(VitalProductPage.unitSerialNumber, [0, 0x80, 0, 8] + text("W0K06N9G", 8) + [1, 2]) == "W0K06N9G")
    #expect(try answer(VitalProductPage.supportedPages, [0, 0, 0, 3, 0, 0x80, 0x83, 0xff]) == [0, 0x80, 0x83])
  }

  @Test func limitsAndProvisioningAreRead() throws {
    var limits = [UInt8](repeating: 0, count: 64)
    limits[1...3] = [0xb0, 0, 0x3c]
    limits.put(bigEndian: UInt32(0x4000), at: 8)
    limits.put(bigEndian: UInt32(0x2000), at: 20)
    limits.put(bigEndian: UInt32(8), at: 28)
    limits.put(bigEndian: UInt32(0x8000_0003), at: 32)
    limits.put(bigEndian: UInt64(0xffff), at: 36)
    let read = try answer(VitalProductPage.blockLimits, limits)
    #expect(read.maximumTransferBlocks == 0x4000 && read.optimalTransferBlocks == nil)
    #expect(read.maximumUnmapBlocks == 0x2000 && read.maximumUnmapDescriptors == nil)
    #expect(read.optimalUnmapGranularityBlocks == 8 && read.unmapAlignmentBlocks == 3)
    #expect(read.maximumWriteSameBlocks == 0xffff)
    let thin = try answer(VitalProductPage.logicalBlockProvisioning, [0, 0xb2, 0, 4, 0, 0xe4, 2, 0])
    #expect(thin.kind == .thin && thin.hasUnmap && thin.hasWriteSame16 && thin.hasWriteSame10 && thin.unmappedReadsZero)
    #expect(try answer(VitalProductPage.blockDeviceCharacteristics, [0, 0xb1, 0, 60, 0, 1]) == .solidState)
    #expect(
      try answer(VitalProductPage.blockDeviceCharacteristics, [0, 0xb1, 0, 60, 0x1c, 0x20])
        == .rotating(perMinute: 7200))
  }

  @Test func aCapacityThatCannotBeIsRefused() throws {
    var bytes = [UInt8](repeating: 0, count: 32)
    bytes.put(bigEndian: UInt64(2047), at: 0)
    bytes.put(bigEndian: UInt32(512), at: 8)
    bytes[13] = 3
    bytes.put(bigEndian: UInt16(0xc007), at: 14)
    let capacity = try answer(ReadCapacity(), bytes)
    #expect(capacity.sizeBytes == 1 << 20 && capacity.physicalBlockBytes == 4096)
    #expect(capacity.isThin && capacity.unmappedReadsZero && capacity.lowestAlignedBlock == 7)
    bytes.put(bigEndian: UInt64.max, at: 0)
    #expect(throws: MalformedAnswer.self) { try answer(ReadCapacity(), bytes) }
    bytes.put(bigEndian: UInt64.max / 2, at: 0)
    #expect(throws: MalformedAnswer.self) { try answer(ReadCapacity(), bytes) }
    #expect(throws: MalformedAnswer.self) { try answer(ReadCapacity(), [UInt8](repeating: 0, count: 32)) }
    #expect(throws: MalformedAnswer.self) { try answer(ReadCapacity(), Array(bytes.prefix(12))) }
  }

  @Test func logicalUnitsAreListedAsFarAsTheyCame() throws {
    let bytes: [UInt8] = [0, 0, 0, 24, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + [0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    #expect(try answer(ReportLogicalUnits(), bytes) == [0, 0x0001_0000_0000_0000])
  }

  @Test func healthIsRead() throws {
    let temperature: [UInt8] = [0x0d, 0, 0, 12, 0, 0, 3, 2, 0, 33, 0, 1, 3, 2, 0, 60]
    #expect(try answer(LogSense.temperature, temperature) == DriveTemperature(celsius: 33, referenceCelsius: 60))
    let prognosis = try answer(LogSense.informationalExceptions, [0x2f, 0, 0, 8, 0, 0, 3, 4, 0x5d, 0x10, 41, 0])
    #expect(prognosis.predictsFailure && prognosis.celsius == 41)
    let errors: [UInt8] = [0x03, 0, 0, 16, 0, 3, 2, 4, 0, 0, 1, 0, 0, 6, 2, 2, 0, 5, 0, 9]
    let counters = try answer(LogSense.readErrors, errors)
    #expect(counters.corrected == 256 && counters.uncorrected == 5 && counters.correctedAtOnce == nil)
    #expect(throws: MalformedAnswer.self) { try answer(LogSense.temperature, [0x2f, 0, 0, 0]) }
    #expect(throws: MalformedAnswer.self) { try answer(LogSense.informationalExceptions, [0x2f, 0, 0, 0]) }
  }

  @Test func theDisksOwnPhysAreRead() throws {
    var phy = [UInt8](repeating: 0, count: 48)
    (phy[1], phy[3], phy[4], phy[5]) = (1, 44, 0x20, 0x1b)
    phy.put(bigEndian: UInt64(0x5000_c500_9ed1_e48a), at: 8)
    phy.put(bigEndian: UInt64(0x500a_0980_07ea_8759), at: 16)
    phy.put(bigEndian: UInt32(7), at: 32)
    phy.put(bigEndian: UInt32(2), at: 44)
    let parameter: [UInt8] = [0, 2, 3, 52, 6, 0, 0, 1] + phy
    let bytes = [0x18, 0, 0, UInt8(parameter.count)] + parameter
    let read = try #require(try answer(LogSense.sasPhys, bytes).first)
    #expect(read.relativeTargetPort == 2 && read.identifier == 1 && read.negotiatedRateCode == 0xb)
    #expect(read.address == 0x5000_c500_9ed1_e48a && read.invalidWords == 7 && read.resetProblems == 2)
    var lying = bytes
    lying[11] = 200
    #expect(try answer(LogSense.sasPhys, lying).count == 1)
  }

  @Test func aWriteCacheIsFoundBehindDescriptors() throws {
    let page: [UInt8] = [0x88, 0x12, 0x04] + [UInt8](repeating: 0, count: 17)
    let bytes: [UInt8] = [0, 34, 0, 0x90, 0, 0, 0, 8] + [UInt8](repeating: 0, count: 8) + page
    #expect(try answer(ModeSenseCaching(), bytes) == CachingMode(isWriteProtected: true, cachesWrites: true))
    #expect(throws: MalformedAnswer.self) { try answer(ModeSenseCaching(), Array(bytes.prefix(12))) }
  }

  @Test func commandsAreWrittenAsTheStandardsSay() throws {
    let (own, victim) = (try #require(ReservationKey(0xa0b)), try #require(ReservationKey(0xc0d)))
    let fence = PersistentReserveOut(
      .preempt(own, victim: victim, .exclusiveAccessRegistrantsOnly, aborting: true))
    #expect(fence.block == [0x5f, 5, 6, 0, 0, 0, 0, 0, 24, 0])
    #expect(
      fence.data
        == .send([0, 0, 0, 0, 0, 0, 0x0a, 0x0b, 0, 0, 0, 0, 0, 0, 0x0c, 0x0d] + [UInt8](repeating: 0, count: 8)))
    let register = PersistentReserveOut(.register(own, persistently: true))
    #expect(register.block[1] == 6)
    #expect(
      register.data
        == .send([UInt8](repeating: 0, count: 14) + [0x0a, 0x0b, 0, 0, 0, 0, 1, 0, 0, 0]))
    #expect(PersistentReserveIn.readKeys(atMost: 0x1234).block == [0x5e, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0])
    #expect(VitalProductPage.deviceIdentification.block == [0x12, 1, 0x83, 2, 0xff, 0])
    #expect(LogSense.temperature.block == [0x4d, 0, 0x4d, 0, 0, 0, 0, 0x20, 0, 0])
  }

  @Test func reservationsThatCannotBeAreRefused() {
    // A scope and a type that the standard has not; a holder without a key.
    for (key, kind) in [(1, 0x15), (1, 0x02), (0, 0x05)] as [(UInt8, UInt8)] {
      let bytes: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, key, 0, 0, 0, 0, 0, kind, 0, 0]
      #expect(throws: MalformedAnswer.self) { try answer(PersistentReserveIn.readReservation, bytes) }
    }
    #expect(throws: MalformedAnswer.self) {
      try answer(PersistentReserveIn.readKeys(), [0, 0, 0, 1, 0, 0, 0, 8] + [UInt8](repeating: 0, count: 8))
    }
  }

  /// Whatever bytes come, reading them ends in an answer or an error.
  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func noBytesMakeReadingFail(seed: UInt64) {
    var state = seed
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state >> 33
    }
    func attempt<Command: SCSICommand>(_ command: Command, header: [UInt8]) {
      var bytes = (0..<Int(next() % 300)).map { _ in UInt8(truncatingIfNeeded: next() % 5 == 0 ? 0xff : next()) }
      for (index, byte) in header.enumerated() where index < bytes.count { bytes[index] = byte }
      _ = try? command.answer(to: SCSIAnswer(data: bytes))
      _ = SCSISense(bytes)?.descriptor(9)
    }
    for _ in 0..<500 {
      attempt(Inquiry(), header: [])
      attempt(VitalProductPage.deviceIdentification, header: [0, 0x83])
      attempt(VitalProductPage.blockLimits, header: [0, 0xb0])
      attempt(VitalProductPage.unitSerialNumber, header: [0, 0x80])
      attempt(ReadCapacity(), header: [])
      attempt(ReportLogicalUnits(), header: [])
      attempt(LogSense.sasPhys, header: [0x18, 0, 1, 0, 0, 1, 3, 0xff, 6])
      attempt(LogSense.readErrors, header: [0x03])
      attempt(LogSense.temperature, header: [0x0d])
      attempt(ModeSenseCaching(), header: [])
      attempt(PersistentReserveIn.readFullStatus(), header: [0, 0, 0, 1, 0, 0, 1, 0])
      attempt(PersistentReserveIn.readReservation, header: [0, 0, 0, 1, 0, 0, 0, 16])
      attempt(PersistentReserveIn.reportCapabilities, header: [])
    }
  }
}
