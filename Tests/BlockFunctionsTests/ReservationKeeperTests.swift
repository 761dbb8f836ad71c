import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import BlockFunctions

private func token(_ value: UInt64) -> FencingToken { FencingToken { $0.value = value } }

/// A host with its paths to a disk that others reach, too.
private struct Host {
  let paths: [FakeSCSITarget.Path]
  var keeper: ReservationKeeper { ReservationKeeper(paths: paths.map { SCSIReservationDevice($0) }) }

  init(_ disk: FakeSCSITarget, _ names: String...) { paths = names.map { disk.path($0) } }

  /// Whether a write by the first path arrives.
  func writes() -> Bool { (try? paths[0].write(7, block: 3)) != nil }
  func reads() -> Bool { (try? paths[0].read(block: 3)) != nil }
}

struct ReservationKeeperTests {
  @Test func oneHostHasTheDiskAndTheOthersNeitherWriteNorRead() throws {
    let disk = FakeSCSITarget()
    let (a, b) = (Host(disk, "a0", "a1"), Host(disk, "b0"))
    try a.keeper.seize(token(5))
    #expect(try a.keeper.isHeld(by: token(5)))
    #expect(try !a.keeper.isHeld(by: token(6)))
    #expect(a.writes() && !b.writes() && !b.reads())
    #expect((try? a.paths[1].write(7, block: 4)) != nil)
    try a.keeper.letGo(of: token(5))
    try a.keeper.letGo(of: token(5))
    #expect(try !a.keeper.isHeld(by: token(5)))
    #expect(disk.reservations.registrations.isEmpty)
  }

  @Test func aHigherTokenTakesTheDiskAndALowerOneIsToldWhich() throws {
    let disk = FakeSCSITarget()
    let (a, b) = (Host(disk, "a0", "a1"), Host(disk, "b0"))
    try a.keeper.seize(token(5))
    try b.keeper.seize(token(6))
    #expect(!a.writes() && !a.reads() && b.writes())
    #expect(try !a.keeper.isHeld(by: token(5)))
    let refusal = try #require(throws: PluginError.self) { try a.keeper.seize(token(5)) }
    #expect(refusal.code == .failedPrecondition && refusal.highestToken == token(6))
    #expect(!a.writes() && b.writes())
    // What it lets go of is not what the other one has.
    try a.keeper.letGo(of: token(5))
    #expect(try b.keeper.isHeld(by: token(6)))
  }

  @Test func aPathThatComesBackIsRegisteredAgain() throws {
    let disk = FakeSCSITarget()
    let host = Host(disk, "a0")
    try host.keeper.seize(token(5))
    let grown = Host(disk, "a0", "a1")
    #expect((try? grown.paths[1].write(7, block: 3)) == nil)
    #expect(try grown.keeper.isHeld(by: token(5)))
    #expect((try? grown.paths[1].write(7, block: 3)) != nil)
  }

  @Test func registrationsOfOthersAreRespected() throws {
    let disk = FakeSCSITarget()
    let foreign = PersistentReservation([disk.path("stranger")])
    try foreign.register(#require(ReservationKey(0xABC)))
    let refusal = try #require(throws: PluginError.self) { try Host(disk, "a0").keeper.seize(token(1)) }
    #expect(refusal.message.contains("0x0000000000000abc"))
    #expect(disk.reservations.registrations.count == 1)
  }

  @Test func aDiskWithoutReservationsIsRefused() throws {
    let disk = FakeSCSITarget { $0.knowsReservations = false }
    let refusal = try #require(throws: ReservationError.self) { try Host(disk, "a0").keeper.seize(token(1)) }
    #expect("\(refusal)".contains("serve it from one"))
  }

  @Test func aFenceThatTheDiskForgetsIsNoFence() throws {
    let disk = FakeSCSITarget()
    let (a, b) = (Host(disk, "a0"), Host(disk, "b0"))
    try a.keeper.seize(token(5))
    disk.adjust { $0.forgetsPreemptions = true }
    #expect(throws: (any Error).self) { try b.keeper.seize(token(6)) }
    #expect(try !b.keeper.isHeld(by: token(6)))
  }
}
