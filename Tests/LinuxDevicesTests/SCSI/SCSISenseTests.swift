import Testing

@testable import LinuxDevices

@Suite struct SCSISenseTests {
  @Test func bothFormatsAreRead() {
    let fixed: [UInt8] = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 0x05, 0, 0, 0, 0]
    #expect(SCSISense(fixed)?.key == .unitAttention)
    #expect(SCSISense(fixed)?.code == .registrationsPreempted)
    let descriptors: [UInt8] = [0x72, 5, 0x24, 0, 0, 0, 0, 14, 0x09, 0x0c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x50]
    let sense = SCSISense(descriptors)
    #expect(sense?.isUnsupported == true)
    #expect(sense?.descriptor(9)?.bytes.last == 0x50)
    #expect(sense?.descriptor(1) == nil)
    #expect(sense?.description == "illegal request, 24/00: invalid field in the command")
    #expect(SCSISense([]) == nil)
    #expect(SCSISense([0x12, 3]) == nil)
    #expect(SCSISense([0x70, 0]) == nil)
    #expect(SCSISense(Array(fixed.prefix(8)))?.code == SCSISense.AdditionalCode(0, 0))
  }

  @Test func howFarADeviceIsStandsInBothFormats() {
    var fixed: [UInt8] = [0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x04, 0x1b, 0, 0x80, 0x40, 0]
    #expect(SCSISense(fixed)?.code == .sanitizeInProgress && SCSISense(fixed)?.progress == 0.25)
    fixed[15] = 0
    #expect(SCSISense(fixed)?.progress == nil && SCSISense(Array(fixed.prefix(16)))?.progress == nil)
    let descriptors: [UInt8] = [0x72, 2, 0x04, 0x1b, 0, 0, 0, 8, 2, 6, 0, 0, 0x80, 0x80, 0, 0]
    #expect(SCSISense(descriptors)?.progress == 0.5)
    #expect(SCSISense(Array(descriptors.prefix(8)))?.progress == nil)
  }

  @Test func aReservationConflictIsOneWhateverTheKernelAdds() {
    // DID_NEXUS_FAILURE, of kernels before 5.20.
    #expect(SCSIFailure(status: 0x18, host: 0x11, driver: 0, sense: nil) == .reservationConflict)
  }

  @Test func waysThatFailAreToldFromDevicesThatRefuse() {
    #expect(SCSIFailure(status: 0, host: 0, driver: 0, sense: nil) == nil)
    // DRIVER_SENSE alone is no failure.
    #expect(SCSIFailure(status: 0, host: 0, driver: 0x08, sense: nil) == nil)
    #expect(SCSIFailure(status: 0, host: 1, driver: 0, sense: nil) == .path(host: 1, driver: 0))
    #expect(SCSIFailure(status: 0, host: 0, driver: 6, sense: nil) == .path(host: 0, driver: 6))
    #expect(SCSIFailure(status: 8, host: 0, driver: 0, sense: nil) == .status(8))
    #expect(SCSIFailure(status: 2, host: 0, driver: 8, sense: nil) == .status(2))
    let recovered = SCSISense(key: .recoveredError, code: .ataInformationAvailable)
    #expect(SCSIFailure(status: 2, host: 0, driver: 8, sense: recovered) == nil)
    let medium = SCSISense(key: .mediumError, code: .init(0x11, 0))
    #expect(SCSIFailure(status: 2, host: 0, driver: 8, sense: medium) == .checkCondition(medium))
  }

  @Test func aDeviceThatIsNoneIsAnErrorThatNamesIt() {
    do {
      _ = try SCSIPath("/dev/null").send(Inquiry())
      Issue.record("it answered")
    } catch let error as SCSIError {
      // ENOTTY: it takes no such command.
      guard case .system(let reason) = error.failure else {
        Issue.record("\(error)")
        return
      }
      #expect(reason.errno == 25)
      #expect(error.description.hasPrefix("INQUIRY on /dev/null"))
    } catch {
      Issue.record("\(error)")
    }
  }
}
