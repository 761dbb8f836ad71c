import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct NVMeDriveTests {
  private let drive = FakeNVMeDrive()

  @Test func aControllerSaysWhatItIs() throws {
    let data = try drive.controller().send(Identify.controller)
    #expect([data.serialNumber, data.model, data.firmware] == ["N1NVME", "QEMU NVMe Ctrl", "10.0"])
    #expect(data.subsystemName == "nqn.2019-08.org.qemu:rack1")
    #expect(data.subsystemHasSeveralControllers && !data.isVirtualFunction && !data.subsystemHasSeveralPorts)
    #expect(data.hasFormat && data.hasNamespaceManagement && data.hasVirtualizationManagement)
    #expect(data.hasDeallocate && data.hasWriteZeroes && data.hasReservations && data.hasVolatileWriteCache)
    #expect(data.sanitize == .init(cryptographicErase: true, blockErase: true, overwrite: false))
    #expect(data.warningTemperatureKelvin == 343 && data.criticalTemperatureKelvin == nil)
    let secondary = try drive.controller(3).send(Identify.controller)
    #expect(secondary.isVirtualFunction && secondary.identifier == 3)
  }

  @Test func aNamespaceSaysItsSizeAndNames() throws {
    drive.addNamespace(1) {
      $0.attached = [0]
      $0.uuid[0] = 9
      $0.eui64 = [0, 0x25, 0x38, 1, 2, 3, 4, 5]
    }
    let data = try drive.controller().send(Identify.namespace(1))
    #expect(data.logicalBlockBytes == 4096 && data.sizeBytes == 1 << 30)
    #expect(data.isThin && data.isShared && data.deallocatedReadsZero && data.canPersistReservations)
    #expect(data.reservationTypes == Set(ReservationType.allCases))
    #expect(data.names.best?.text == "eui." + String(repeating: "0", count: 30) + "01")
    let names = try drive.controller().send(Identify.names(ofNamespace: 1))
    #expect(names.best == data.names.best && names.uuid?.first == 9 && names.eui64?[1] == 0x25)
  }

  @Test func aNamespaceThatIsNotAttachedIsNoneAndOneThatIsAllocatedIs() throws {
    drive.addNamespace(2)
    let controller = drive.controller()
    #expect(throws: NVMeError.self) { try controller.send(Identify.namespace(2)) }
    #expect(try controller.send(Identify.allocatedNamespace(2)).logicalBlocks == 1 << 18)
    #expect(try controller.send(Identify.activeNamespaces()) == [])
    #expect(try controller.send(Identify.allocatedNamespaces()) == [2])
    do {
      _ = try controller.send(Identify.namespace(7))
      Issue.record("there is one")
    } catch {
      #expect(error.failure.status == .invalidNamespaceOrFormat)
      #expect(error.description.hasPrefix("Identify Namespace on /dev/nvme0: there is no such namespace"))
    }
  }

  @Test func namespacesAreAttachedAndDetachedControllerByController() throws {
    drive.addNamespace(1)
    drive.addNamespace(2) { $0.isShared = false }
    let primary = drive.controller()
    try primary.send(NamespaceAttachment(.attach, namespace: 1, controllers: [2, 0]))
    #expect(try primary.send(Identify.controllers(ofNamespace: 1)) == [0, 2])
    #expect(try drive.controller(2).send(Identify.activeNamespaces()) == [1])
    try primary.send(NamespaceAttachment(.detach, namespace: 1, controllers: [2]))
    #expect(try primary.send(Identify.controllers(ofNamespace: 1)) == [0])
    try primary.send(NamespaceAttachment(.attach, namespace: 2, controllers: [1]))
    let refusals: [(NamespaceAttachment, NVMeStatus)] = [
      (.init(.attach, namespace: 1, controllers: [0]), .namespaceAlreadyAttached),
      (.init(.detach, namespace: 1, controllers: [3]), .namespaceNotAttached),
      (.init(.attach, namespace: 2, controllers: [3]), .namespaceIsPrivate),
      (.init(.attach, namespace: 1, controllers: [99]), .controllerListInvalid),
      (.init(.attach, namespace: 9, controllers: [0]), .invalidNamespaceOrFormat),
    ]
    for (command, status) in refusals {
      #expect(throws: NVMeError(command.name, device: "/dev/nvme0", .status(status))) { try primary.send(command) }
    }
  }

  @Test func aSecondaryGetsResourcesFromThePrimaryAndComesOnline() throws {
    let primary = drive.controller()
    func manage(_ action: VirtualizationManagement.Action, _ controller: UInt16) throws -> UInt16 {
      try primary.send(VirtualizationManagement(action, controller: controller))
    }
    #expect(try primary.send(Identify.primaryCapabilities(of: 0)).queues.free == 0)
    #expect(throws: NVMeError.self) { try manage(.assign(.queues, 2), 1) }
    _ = try manage(.allocateToPrimary(.queues, 0), 0)
    _ = try manage(.allocateToPrimary(.interrupts, 0), 0)
    // What the primary gives up counts after its reset.
    #expect(throws: NVMeError.self) { try manage(.assign(.queues, 2), 1) }
    drive.resetPrimary()
    #expect(try primary.send(Identify.primaryCapabilities(of: 0))[.interrupts].free == 4)
    #expect(throws: NVMeError.self) { try manage(.bringOnline, 1) }
    #expect(try manage(.assign(.queues, 2), 1) == 2)
    #expect(try manage(.assign(.interrupts, 1), 1) == 1)
    _ = try manage(.bringOnline, 1)
    let secondaries = try primary.secondaries()
    #expect(secondaries.map(\.controller) == [1, 2, 3, 4])
    #expect(secondaries.first?.isOnline == true && secondaries.first?.queues == 2 && secondaries.first?.interrupts == 1)
    #expect(secondaries.map(\.virtualFunction) == [1, 2, 3, 4])
    #expect(try primary.send(Identify.primaryCapabilities(of: 0)).queues.assigned == 2)
    do {
      _ = try manage(.assign(.queues, 3), 1)
      Issue.record("it took resources while it was online")
    } catch let error as NVMeError {
      #expect(error.failure.status == .invalidSecondaryState)
    }
    _ = try manage(.takeOffline, 1)
    #expect(throws: NVMeError.self) { try manage(.assign(.queues, 9), 1) }
  }

  @Test func manySecondariesAreListedToTheEnd() throws {
    #expect(try FakeNVMeDrive(secondaries: 300).controller().secondaries().map(\.controller) == Array(1...300))
  }

  @Test func healthAndErasureAreRead() throws {
    let controller = drive.controller()
    let health = try controller.send(GetLogPage.health)
    #expect(health.celsius == 50 && health.usedPercent == 3 && health.mediaErrors == 7 && health.warnings.isEmpty)
    #expect(health.dataUnitsRead == 1000 && health.availableSparePercent == 100)
    #expect(try controller.send(GetLogPage.sanitizeStatus).state == .never)
    for (status, state) in [(0x101, .completed), (2, .inProgress(perMille: 500)), (3, .failed)]
      as [(UInt16, SanitizeStatus.State)]
    {
      drive.adjust {
        $0.sanitizeStatus = status
        $0.sanitizeProgress = 0x8000
      }
      let read = try controller.send(GetLogPage.sanitizeStatus)
      #expect(read.state == state && read.isErased == (status == 0x101))
    }
  }

  @Test func commandsAreWrittenAsTheSpecificationSays() throws {
    let key = try #require(ReservationKey(0x0102))
    let victim = try #require(ReservationKey(0x0304))
    let preempt = NVMeReservationChange(
      .preempt(key, victim: victim, .exclusiveAccessRegistrantsOnly, aborting: true), namespace: 5)
    #expect(preempt.request == NVMeRequest(.readsAndWrites, opcode: 0x11, namespace: 5, words: [0x402]))
    #expect(preempt.data == .send([2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]))
    let register = NVMeReservationChange(.register(key, persistently: true), namespace: 5)
    #expect(register.request.words[0] == 0xc000_000a)
    #expect(register.data == .send([0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]))
    #expect(GetLogPage.health.request == NVMeRequest(opcode: 0x02, namespace: .max, words: [0x007f_0002]))
    #expect(
      VirtualizationManagement(.assign(.interrupts, 3), controller: 4).request
        == NVMeRequest(opcode: 0x1c, words: [0x0004_0108, 3]))
    #expect(FormatNamespace(1, .cryptographic, format: 0x21).request.words[0] == 0x2401)
    #expect(NVMeStatus(kernel: 0x4083) == .reservationConflict)
    #expect(NVMeStatus(kernel: 0x4083).doNotRetry)
  }

  /// Whatever bytes come, reading them ends in an answer or an error.
  @Test(arguments: [1, 2] as [UInt64]) func noBytesMakeReadingFail(seed: UInt64) {
    var state = seed
    func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state >> 33
    }
    func attempt(_ command: some NVMeCommand) {
      let length = next() % 3 == 0 ? Int(next() % 200) : 4096
      let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: next()) }
      _ = try? command.answer(to: NVMeAnswer(data: bytes))
    }
    for _ in 0..<60 {
      attempt(Identify.controller)
      attempt(Identify.namespace(1))
      attempt(Identify.names(ofNamespace: 1))
      attempt(Identify.controllers)
      attempt(Identify.activeNamespaces())
      attempt(Identify.primaryCapabilities(of: 0))
      attempt(Identify.secondaries())
      attempt(GetLogPage.health)
      attempt(GetLogPage.sanitizeStatus)
      attempt(NVMeReservationReport(namespace: 1))
    }
  }

  @Test func aDeviceThatIsNoneIsAnErrorThatNamesIt() throws {
    do {
      _ = try NVMeDevice("/dev/null").send(Identify.controller)
      Issue.record("it answered")
    } catch let error as NVMeError {
      #expect(error.description.hasPrefix("Identify Controller: send an NVMe command to /dev/null: "))
    }
  }
}
