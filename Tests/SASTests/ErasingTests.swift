import BlockFunctions
import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Testing

@testable import iov_plugin_sas

/// Whole disks that erase themselves by SANITIZE.
struct ErasingTests {
  private func disk(_ target: FakeSCSITarget) throws -> (Shelf, SASDisks, DiskDescription) {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", target)
    let disks = shelf.disks()
    return (shelf, disks, try #require(try disks.describe(shelf.device("sdb"))))
  }

  private func sanitizes(_ target: FakeSCSITarget) -> [[UInt8]] { target.received.filter { $0.first == 0x48 } }

  @Test(arguments: [([1, 2, 3], 2), ([1, 3], 1), ([3], 3)] as [(Set<UInt8>, UInt8)])
  func theQuickestWayThatADiskKnowsIsTaken(actions: Set<UInt8>, taken: UInt8) throws {
    let target = FakeSCSITarget { $0.erasing = FakeErasing(actions: actions) }
    let (shelf, disks, disk) = try disk(target)
    #expect(disk.sanitizes)
    let user = target.path("user")
    try user.write(7, block: 3)
    try disks.sanitize(disk)
    #expect(sanitizes(target).map { $0[1] } == [0x80 | taken])
    #expect(try user.read(block: 3) == (taken == 3 ? 0x5a : 0))
    #expect(shelf.news.withLock { $0 } == ["25", "33", "50"].map { "\(Shelf.identity) erases itself: \($0) %" })
  }

  @Test func oneThatIsAtItAlreadyIsWaitedFor() throws {
    let target = FakeSCSITarget { $0.erasing = FakeErasing(actions: [2], questions: 40) }
    let (shelf, disks, disk) = try disk(target)
    defer { withExtendedLifetime(shelf) {} }
    // Whoever asked for it has died.
    let former = target.path("former")
    try former.send(TestUnitReady())
    try former.send(SanitizeUnit(.blockErase))
    try disks.sanitize(disk)
    #expect(sanitizes(target).count == 1)
    #expect(target.received.filter { $0.first == 0x03 }.count > 40)
  }

  @Test func aDiskThatKnowsNoneRefusesAndIsNotAsked() throws {
    for target in [FakeSCSITarget(), FakeSCSITarget { $0.erasing = FakeErasing(actions: []) }] {
      let (shelf, disks, disk) = try disk(target)
      defer { withExtendedLifetime(shelf) {} }
      #expect(!disk.sanitizes)
      let error = #expect(throws: PluginError.self) { try disks.sanitize(disk) }
      #expect(error?.code == .failedPrecondition && error?.message.contains("set scrub: zero") == true)
      #expect(sanitizes(target).isEmpty)
    }
  }

  @Test func whatCouldNotBeErasedIsNotTakenForClean() throws {
    let target = FakeSCSITarget { $0.erasing = FakeErasing(actions: [1], fails: true) }
    let (shelf, disks, disk) = try disk(target)
    defer { withExtendedLifetime(shelf) {} }
    let error = #expect(throws: PluginError.self) { try disks.sanitize(disk) }
    #expect(error?.code == .dataLoss && error?.message.contains("sanitize failed") == true)
  }

  @Test func aDiskThatAnotherHostHasToItselfIsNotRefusedForThat() throws {
    let target = FakeSCSITarget { $0.erasing = FakeErasing(actions: [2]) }
    target.fault(.init(0xa3, action: 0x0c, .fails(.reservationConflict)))
    let (shelf, disks, disk) = try disk(target)
    defer { withExtendedLifetime(shelf) {} }
    #expect(disk.sanitizes)
    try disks.sanitize(disk)
    #expect(sanitizes(target).count == 1)
  }
}
