import BlockFunctions
import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_sas

private func token(_ value: UInt64) -> FencingToken { FencingToken { $0.value = value } }

struct PullTests {
  @Test func aPulledDiskComesBackUnderAnotherName() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    shelf.plug(1, as: "sdb", target)
    let disks = shelf.disks()
    let before = try #require(try disks.describe(shelf.device("sdb")))
    shelf.comesBack { [unowned shelf] place in
      if place == "0 1 0", shelf.kernel.sysfs.names(in: "class/block").isEmpty { shelf.plug(1, as: "sdq", target) }
    }
    let after = try disks.pull(before)
    #expect(after.identity == before.identity && after.devices == [shelf.device("sdq")])
    #expect(!shelf.kernel.sysfs.exists("class/block/sdb"))
  }

  @Test func allItsPathsArePulled() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    shelf.plug(1, as: "sdb", target)
    shelf.plug(2, as: "sdc", target)
    shelf.link("wwn-disk", to: "sdc")
    let link = shelf.device("disk/by-id/wwn-disk")
    let disks = shelf.disks()
    let before = try #require(try disks.describe(link))
    shelf.comesBack { [unowned shelf] place in
      // None comes back before all have gone.
      let number = place == "0 1 0" ? 1 : 2
      guard !shelf.kernel.sysfs.exists("bus/scsi/devices/0:0:\(number):0") else { return }
      shelf.plug(number, as: number == 1 ? "sdd" : "sde", target)
      if number == 2 { shelf.link("wwn-disk", to: "sde") }
    }
    #expect(try disks.pull(before).devices == [link, shelf.device("sdd")])
    for gone in ["sdb", "sdc"] { #expect(!shelf.kernel.sysfs.exists("class/block/\(gone)")) }
  }

  @Test func oneThatStaysAwayIsAnErrorThatSaysWhatToDo() throws {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", FakeSCSITarget())
    let disks = shelf.disks(patience: .milliseconds(200))
    let disk = try #require(try disks.describe(shelf.device("sdb")))
    let error = try #require(throws: PluginError.self) { try disks.pull(disk) }
    #expect(error.code == .unavailable && error.message.contains("/sys/class/scsi_host/host0/scan"))
    #expect(throws: PluginError.self) { try disks.pull(disk) }
    #expect(throws: PluginError.self) { try disks.keeper(of: disk) }
  }
}

struct KeeperTests {
  @Test func aSharedDiskIsKeptOnAllPaths() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    shelf.plug(1, as: "sdb", target)
    shelf.plug(2, as: "sdc", target)
    let other = target.path("other")
    let disks = shelf.disks()
    let disk = try #require(try disks.describe(shelf.device("sdb")))
    let keeper = try #require(try disks.keeper(of: disk))
    try keeper.seize(token(5))
    #expect(try keeper.isHeld(by: token(5)))
    #expect(target.reservations.registrations.count == 2)
    #expect(throws: SCSIError.self) { try other.write(1, block: 1) }
    try keeper.letGo(of: token(5))
    #expect(target.reservations.registrations.isEmpty)
  }

  @Test func whatSomebodyElseRegisteredIsRefusedAndLeft() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    shelf.plug(1, as: "sdb", target)
    let foreign = PersistentReservation([target.path("foreign")])
    try foreign.register(try #require(ReservationKey(0x77)))
    let disks = shelf.disks()
    let disk = try #require(try disks.describe(shelf.device("sdb")))
    let keeper = try #require(try disks.keeper(of: disk))
    let error = try #require(throws: PluginError.self) { try keeper.seize(token(5)) }
    #expect(error.code == .failedPrecondition && error.message.contains("not of this cluster"))
    #expect(target.reservations.registrations.count == 1)
  }
}
