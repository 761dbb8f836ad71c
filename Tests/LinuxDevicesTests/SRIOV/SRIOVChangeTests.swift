import FakeDevices
import Glibc
import Testing

@testable import LinuxDevices

private let card = PCIAddress(bus: 1, device: 0, function: 0)
private let first = PCIAddress(bus: 1, device: 16, function: 0)

@Suite struct SRIOVChangeTests {
  private func capability(_ count: UInt32, total: UInt32 = 7) -> SRIOVCapability {
    SRIOVCapability(
      total: total, count: count,
      functions: (0..<count).map {
        SRIOVFunction(index: $0, address: PCIAddress(bus: 1, device: 16, function: UInt8($0)))
      })
  }

  @Test(
    arguments: [(0, 0, []), (4, 4, []), (0, 4, [4]), (4, 0, [0]), (4, 2, [0, 2]), (2, 7, [0, 7])]
      as [(UInt32, UInt32, [UInt32])])
  func aChangeGoesThroughNone(from: UInt32, to: UInt32, steps: [UInt32]) throws {
    let change = try SRIOVChange(of: card, with: capability(from), to: to, holders: [:])
    #expect(change.steps == steps)
    #expect(change.destroyed.count == (steps.isEmpty ? 0 : Int(from)))
    #expect(change.isNeeded == !steps.isEmpty)
  }

  @Test func aHeldFunctionIsNotDestroyed() {
    let held = SRIOVError.held(card, from: 4, to: 6, by: [.init(function: first, name: "claim web/0")])
    #expect(throws: held) {
      try SRIOVChange(of: card, with: capability(4), to: 6, holders: [first: "claim web/0"])
    }
    #expect(held.description.contains("0000:01:10.0 by claim web/0"))
  }

  @Test func aHeldFunctionIsNoObstacleWhenNothingChanges() throws {
    #expect(try !SRIOVChange(of: card, with: capability(4), to: 4, holders: [first: "claim web/0"]).isNeeded)
  }

  @Test func aHolderOfAnotherCardsFunctionIsNoObstacle() throws {
    let elsewhere = PCIAddress(bus: 9, device: 16, function: 0)
    #expect(try SRIOVChange(of: card, with: capability(4), to: 2, holders: [elsewhere: "x"]).steps == [0, 2])
  }

  @Test func moreThanTheTotalIsNotEvenTried() {
    #expect(throws: SRIOVError.tooMany(card, asked: 8, total: 7)) {
      try SRIOVChange(of: card, with: capability(0), to: 8, holders: [:])
    }
  }
}

@Suite struct SRIOVControlTests {
  private let kernel: FakeKernel
  private let control: SRIOVControl
  private let attribute = "\(card.sysfsPath)/sriov_numvfs"

  init() throws {
    kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: PCIAddress(bus: 0, device: 2, function: 0)))
    control = SRIOVControl(kernel.sysfs)
  }

  private func change(to count: UInt32, acceptsFewer: Bool = false) throws(SRIOVError) -> SRIOVOutcome {
    let change = try control.plan(card, count: count, holders: [:])
    return try control.carryOut(change, acceptsFewer: acceptsFewer)
  }

  private func refuse(_ errors: CInt?...) { kernel.behaviour.withLock { $0.refusals[attribute] = errors } }

  private var count: UInt32? { kernel.sysfs.sriovCapability(of: card)?.count }

  @Test func theCountIsChangedThroughNoneAndReadBack() throws {
    #expect(try change(to: 4).functions.map(\.index) == [0, 1, 2, 3])
    #expect(try change(to: 2).count == 2)
    #expect(try change(to: 2).count == 2)
    #expect(try change(to: 0).functions.isEmpty)
    #expect(kernel.writes.withLock { $0 } == ["4", "0", "2", "0"].map { "\(attribute)=\($0)" })
  }

  @Test func aCardWithoutTheCapabilityOffersNothing() {
    let port = PCIAddress(bus: 0, device: 2, function: 0)
    #expect(throws: SRIOVError.notOffered(port)) { try control.plan(port, count: 1, holders: [:]) }
  }

  @Test(
    arguments: [
      (EBUSY, .busy), (ERANGE, .aboveTotal), (ENOENT, .driverCannot(driver: "igb")), (EINVAL, .invalid),
      (EPERM, .forbiddenByDriver(driver: "igb")), (EACCES, .notPermitted(EACCES)),
      (EOPNOTSUPP, .notInThisMode(EOPNOTSUPP)), (ENOMEM, .noResources(ENOMEM)), (ENODEV, .vanished),
      (ETIMEDOUT, .other(ETIMEDOUT)),
    ] as [(CInt, SRIOVError.Reason)])
  func eachErrorOfTheKernelHasItsOwnName(errno: CInt, reason: SRIOVError.Reason) {
    refuse(errno)
    #expect(throws: SRIOVError.refused(card, count: 4, reason, state: .unchanged(0))) { try change(to: 4) }
  }

  @Test func withoutADriverNoFunctionIsMade() {
    kernel.unbind(card)
    #expect(throws: SRIOVError.refused(card, count: 4, .driverCannot(driver: nil), state: .unchanged(0))) {
      try change(to: 4)
    }
  }

  @Test func aFailureAfterTheFormerFunctionsWentBringsTheirNumberBack() throws {
    _ = try change(to: 4)
    refuse(nil, ENOMEM)
    #expect(throws: SRIOVError.refused(card, count: 6, .noResources(ENOMEM), state: .rolledBack(4))) {
      try change(to: 6)
    }
    #expect(count == 4)
  }

  @Test func aFailureThatCannotBeUndoneSaysWhatIsLeft() throws {
    _ = try change(to: 4)
    refuse(nil, ENOMEM, EINVAL)
    #expect(
      throws: SRIOVError.refused(
        card, count: 6, .noResources(ENOMEM), state: .left(0, former: 4, rollBack: .invalid))
    ) { try change(to: 6) }
  }

  @Test func fewerThanAskedForIsAFailureUnlessTheyAreTaken() throws {
    kernel.behaviour.withLock { $0.most = 3 }
    #expect(throws: SRIOVError.fewer(card, asked: 5, got: 3, state: .rolledBack(0))) { try change(to: 5) }
    #expect(count == 0)
    let outcome = try change(to: 5, acceptsFewer: true)
    #expect(outcome.asked == 5)
    #expect(outcome.count == 3)
    #expect(outcome.functions.count == 3)
  }

  @Test func noneAtAllIsAFailureAlsoForThoseWhoTakeFewer() throws {
    _ = try change(to: 2)
    kernel.behaviour.withLock { $0.most = 0 }
    #expect(throws: SRIOVError.fewer(card, asked: 5, got: 0, state: .left(0, former: 2, rollBack: nil))) {
      try change(to: 5, acceptsFewer: true)
    }
  }

  @Test func aCardThatIsPulledOutMeanwhileIsSaidToBeGone() throws {
    _ = try change(to: 2)
    kernel.behaviour.withLock { $0.before[attribute] = { [kernel] in kernel.unplug(card) } }
    #expect(throws: SRIOVError.refused(card, count: 0, .vanished, state: .unknown)) { try change(to: 5) }
  }

  @Test func aPlanThatTimeHasOvertakenIsNotCarriedOut() throws {
    let plan = try control.plan(card, count: 4, holders: [:])
    _ = try change(to: 2)
    #expect(throws: SRIOVError.refused(card, count: 4, .busy, state: .unchanged(2))) { try control.carryOut(plan) }
    #expect(count == 2)
  }

  @Test func functionsAreLeftToNoDriverWhenNobodyLooksForOne() throws {
    try control.setDriversAutoprobe(false, of: card)
    try control.setDriversAutoprobe(false, of: card)
    #expect(try change(to: 2).functions.map(\.driver) == [nil, nil])
    try control.setDriversAutoprobe(true, of: card)
    #expect(try change(to: 1).functions.map(\.driver) == ["igbvf"])
    #expect(kernel.writes.withLock { $0.filter { $0.contains("autoprobe") }.count } == 2)
  }
}

@Suite struct SysfsTests {
  @Test func aWriteThatFailsSaysWhatWasTried() throws {
    let kernel = try FakeKernel()
    let sysfs = Sysfs(root: kernel.root)
    let error = #expect(throws: SysfsError.self) { try sysfs.write(4, to: "nothing") }
    #expect(error?.isAbsence == true)
    #expect(error?.description == "open \(kernel.root)/nothing to write '4': No such file or directory (errno 2)")
    kernel.put("", at: "empty")
    try sysfs.write("", to: "empty")
    #expect(sysfs.bytes("empty", atMost: 8) == [0x0a])
  }

  @Test func numbersAreReadInBothOfTheirForms() throws {
    let kernel = try FakeKernel()
    for (text, value) in [("16", 16), ("0x10", 16), ("-1", nil), ("", nil), ("1 2", nil)] as [(String, UInt32?)] {
      kernel.put(text, at: "number")
      #expect(kernel.sysfs.integer("number", as: UInt32.self) == value)
    }
    #expect(kernel.sysfs.integer("none", as: UInt32.self) == nil)
  }
}
