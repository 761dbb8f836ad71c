import FakeDevices
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_sas

struct DescriptionTests {
  @Test func aDiskIsKnownByItsNameWhereverItIs() throws {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", FakeSCSITarget())
    let disks = shelf.disks()
    let before = try #require(try disks.describe(shelf.device("sdb")))
    #expect(before.identity == Shelf.identity && before.devices == [shelf.device("sdb")])
    #expect(before.facts.sizeBytes == 1 << 30 && before.facts.physicalSectorBytes == 4096)
    #expect(before.physicalFunction.driver == "mptsas" && before.physicalFunction.pciAddress == "0000:02:00.0")
    #expect(before.physicalFunction.serialNumber == "SERIAL" && before.physicalFunction.firmware == "N0A1")
    #expect(before.physicalFunction.permanentAddress == Shelf.identity && before.numaNode == 1)
    shelf.unplug(1, "sdb")
    #expect(try disks.describe(shelf.device("sdb")) == nil)
    shelf.plug(3, as: "sdq", FakeSCSITarget())
    let after = try #require(try disks.describe(shelf.device("sdq")))
    #expect(after.identity == before.identity && after.devices == [shelf.device("sdq")])
  }

  @Test func anotherDiskInTheSamePlaceIsAnotherOne() throws {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", FakeSCSITarget())
    let disks = shelf.disks()
    _ = try disks.describe(shelf.device("sdb"))
    shelf.unplug(1, "sdb")
    shelf.plug(1, as: "sdb", name: [0x50, 0, 0xc5, 0, 0x22, 0x22, 0, 0x20], FakeSCSITarget())
    #expect(try disks.describe(shelf.device("sdb"))?.identity == "naa.5000c50022220020")
  }

  @Test func allPathsOfADiskAreOneDisk() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    shelf.plug(1, as: "sdb", target)
    shelf.plug(2, as: "sdc", target)
    shelf.link("wwn-disk", to: "sdc")
    let disks = shelf.disks()
    let (b, c) = (shelf.device("sdb"), shelf.device("sdc"))
    #expect(try disks.describe(b)?.devices == [b, c])
    #expect(try disks.describe(b) == disks.describe(c))
    // A name that stays is the one to use, wherever it leads.
    let link = shelf.device("disk/by-id/wwn-disk")
    #expect(try disks.describe(link)?.devices == [link, b])
    shelf.kernel.put("transport-offline", at: "bus/scsi/devices/0:0:1:0/state")
    let left = try #require(try disks.describe(c))
    #expect(left.devices == [c] && left.health.state == .healthy)
    #expect(left.health.message.contains("0:0:1:0 is transport-offline"))
    shelf.kernel.put("offline", at: "bus/scsi/devices/0:0:2:0/state")
    #expect(try disks.describe(c) == nil)
  }

  @Test func theBetterControllerOfAStorageSystemGoesBefore() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    shelf.plug(1, as: "sdb", target)
    shelf.plug(2, as: "sdc", target)
    shelf.kernel.put("standby", at: "bus/scsi/devices/0:0:1:0/access_state")
    shelf.kernel.put("active/optimized", at: "bus/scsi/devices/0:0:2:0/access_state")
    #expect(try shelf.disks().describe(shelf.device("sdb"))?.device == shelf.device("sdc"))
  }

  @Test func labelsSayWhereADiskIs() throws {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", FakeSCSITarget())
    #expect(
      try shelf.disks().describe(shelf.device("sdb"))?.labels == [
        "transport": "sas", "hba": "5000c50000000001", "port": "5000c50011110011", "enclosure": "500a098000000001",
        "bay": "7", "model": "SEAGATE-ST300MM0048",
      ])
  }

  @Test func functionsOfAnAdapterAreToldOf() throws {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", FakeSCSITarget())
    shelf.kernel.put("16", at: "bus/pci/devices/0000:02:00.0/sriov_totalvfs")
    shelf.kernel.put("0", at: "bus/pci/devices/0000:02:00.0/sriov_numvfs")
    let count = try shelf.disks().describe(shelf.device("sdb"))?.physicalFunction.functionCount
    #expect(count?.maximum == 16 && count?.present == 0)
  }

  @Test func disksOfOtherClassesAndWithoutANameAreNone() throws {
    let shelf = try Shelf()
    shelf.plug(in: "ata3", as: "sdd", FakeSCSITarget())
    #expect(try shelf.disks().describe(shelf.device("sdd")) == nil)
    #expect(try shelf.disks().describe(shelf.device("sdz")) == nil)
    #expect(try shelf.disks().describe("/dev/null") == nil)
  }
}

struct SharingTests {
  private func isMultiRoot(_ target: FakeSCSITarget, protocols: String = "ssp") throws -> Bool? {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", protocols: protocols, target)
    return try shelf.disks().describe(shelf.device("sdb"))?.isMultiRoot
  }

  @Test func aDiskThatKeepsHostsApartIsSharedByThem() throws {
    #expect(try isMultiRoot(FakeSCSITarget()) == true)
    let shelf = try Shelf()
    shelf.plug(in: "session1", as: "sdd", FakeSCSITarget())
    let disk = try #require(try shelf.disks().describe(shelf.device("sdd")))
    #expect(disk.isMultiRoot && disk.labels["transport"] == "iscsi")
  }

  @Test func oneThatCannotHasOneHost() throws {
    #expect(try isMultiRoot(FakeSCSITarget { $0.knowsReservations = false }, protocols: "stp,sata") == false)
    #expect(try isMultiRoot(FakeSCSITarget { $0.types.remove(.exclusiveAccessRegistrantsOnly) }) == false)
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", FakeSCSITarget { $0.knowsReservations = false })
    let disks = shelf.disks()
    let disk = try #require(try disks.describe(shelf.device("sdb")))
    #expect(try disks.keeper(of: disk) == nil)
  }

  @Test func oneThatDoesNotAnswerIsNotGuessedAbout() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget()
    target.fault(.init(0x5e, .fails(.path(host: 0x03, driver: 0))))
    shelf.plug(1, as: "sdb", target)
    let disks = shelf.disks()
    #expect(throws: ReservationError.self) { try disks.describe(shelf.device("sdb")) }
    #expect(try disks.describe(shelf.device("sdb"))?.isMultiRoot == true)
  }
}

struct HealthTests {
  private func health(_ target: FakeSCSITarget) throws -> Health? {
    let shelf = try Shelf()
    shelf.plug(1, as: "sdb", target)
    return try shelf.disks().describe(shelf.device("sdb"))?.health
  }

  @Test func aDriveThatExpectsToFailIsUnhealthy() throws {
    let health = try #require(try health(.telling(prognosis: 0x5d)))
    #expect(health.state == .unhealthy && health.message == "the drive expects to fail (5d/10)")
  }

  @Test func warningsAndCountersAreToldAndNotJudged() throws {
    let health = try #require(try health(.telling(prognosis: 0x0b, uncorrected: 2)))
    #expect(health.state == .healthy && health.message == "the drive warns (0b/10); 2 uncorrected errors")
    #expect(try self.health(.telling(prognosis: 0)) == Health { $0.state = .healthy })
    #expect(try self.health(FakeSCSITarget())?.state == .healthy)
  }

  @Test func whatADriveSaysIsRememberedUntilAnOperatorAsks() throws {
    let shelf = try Shelf()
    let target = FakeSCSITarget.telling(prognosis: 0)
    shelf.plug(1, as: "sdb", target)
    let disks = shelf.disks()
    _ = try disks.describe(shelf.device("sdb"))
    let asked = target.received.count
    shelf.kernel.put("3", at: "class/sas_phy/phy-0:1/invalid_dword_count")
    #expect(try disks.describe(shelf.device("sdb"))?.health.message == "" && target.received.count == asked)
    disks.rescan()
    #expect(try disks.describe(shelf.device("sdb"))?.health.message == "3 errors on its links")
    #expect(target.received.count > asked)
  }

  @Test func aDriveThatCannotBeAskedIsOfUnknownHealth() throws {
    let target = FakeSCSITarget.telling(prognosis: 0)
    target.fault(.init(0x4d, .fails(.status(0x08))))
    let health = try #require(try health(target))
    #expect(health.state == .unknown && health.message.contains("busy"))
  }
}
