import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct SASTopologyTests {
  private let kernel: FakeKernel
  private let place = "devices/pci0000:00/0000:00:02.0/0000:02:00.0"

  init() throws {
    kernel = try FakeKernel()
    kernel.make(place)
  }

  private func disk(_ number: UInt8, _ address: String, _ block: String) -> FakeKernel.Unit {
    var unit = FakeKernel.Unit(address, block: block, generic: "sg\(number)")
    unit.name([0x50, 0, 0xc5, 0, 0x11, 0x11, 0, number])
    unit.serial("SERIAL\(number)")
    return unit
  }

  @Test func disksBehindAnAdapterAreKnownByTheirAddresses() throws {
    let host = kernel.addSASHost(0, at: place, phys: 8, address: "0x5000c50000000001")
    for (number, sas) in [(0, "0x5000c50011110010"), (1, "0x5000c50011110011")] as [(UInt8, String)] {
      let port = kernel.addPort("port-0:\(number)", in: host, phys: ["phy-0:\(number)"])
      let device = kernel.addSASDevice(
        "end_device-0:\(number)", in: port,
        [
          "sas_address": sas, "target_port_protocols": "ssp", "enclosure_identifier": "0x500a098000000001",
          "bay_identifier": "\(number + 4)",
        ])
      kernel.addUnit(disk(number, "0:0:\(number):0", "sd\(number == 0 ? "a" : "b")"), in: device)
    }
    kernel.put("3", at: "class/sas_phy/phy-0:1/invalid_dword_count")

    let topology = kernel.sysfs.sasTopology()
    let adapter = try #require(topology.adapters.first)
    #expect(adapter.identity?.description == "5000c50000000001")
    #expect(adapter.controller == SCSIController(number: 0, driver: "mptsas", address: PCIAddress("0000:02:00.0")))
    #expect(adapter.phys.map(\.identifier) == Array(0..<8))
    #expect(adapter.phys[0].negotiated == .megabitsPerSecond(6000))
    #expect(adapter.phys[0].port == "port-0:0")
    #expect(adapter.phys[2].negotiated == .none("Unknown") && adapter.phys[2].port == nil)
    #expect(adapter.phys[1].errors?.total == 3)
    #expect(adapter.ports.map(\.attached?.description) == ["5000c50011110010", "5000c50011110011"])
    #expect(adapter.ports.map(\.phys) == [[0], [1]])
    #expect(topology.endDevices.map(\.bay) == [4, 5])
    #expect(topology.endDevices.map(\.unitAddresses) == [["0:0:0:0"], ["0:0:1:0"]])
    #expect(topology.endDevices.allSatisfy { !$0.isSATA && $0.expander == nil })

    let paths = kernel.sysfs.scsiUnitPaths()
    #expect(paths.map(\.blockName) == ["sda", "sdb"])
    #expect(paths.map(\.genericName) == ["sg0", "sg1"])
    #expect(paths.map(\.name?.text) == ["naa.5000c50011110000", "naa.5000c50011110001"])
    #expect(paths.map(\.attachment) == topology.endDevices.map { .sas($0.address) })
    #expect(paths.map(\.serialNumber) == ["SERIAL0", "SERIAL1"])
    #expect(paths[0].devicePath() == "/dev/sg0")
  }

  @Test func aDiskThatIsNumberedAnewIsTheSameDisk() throws {
    let host = kernel.addSASHost(0, at: place, phys: 1, address: "0x5000c50000000001")
    let port = kernel.addPort("port-0:0", in: host, phys: ["phy-0:0"])
    let attributes = ["sas_address": "0x5000c50011110010", "target_port_protocols": "ssp"]
    kernel.addUnit(disk(0, "0:0:0:0", "sda"), in: kernel.addSASDevice("end_device-0:0", in: port, attributes))
    let before = try #require(kernel.sysfs.scsiUnitPaths().first)
    kernel.remove("\(port)/end_device-0:0")
    for gone in ["class/sas_device", "class/sas_end_device"] { kernel.remove("\(gone)/end_device-0:0") }
    kernel.remove("bus/scsi/devices/0:0:0:0")
    kernel.addUnit(disk(0, "0:0:7:0", "sdq"), in: kernel.addSASDevice("end_device-0:9", in: port, attributes))
    let after = try #require(kernel.sysfs.scsiUnitPaths().first)
    #expect(after.address != before.address && after.blockName != before.blockName)
    #expect(after.name == before.name && after.attachment == before.attachment)
    #expect(kernel.sysfs.sasTopology().endDevices.count == 1)
  }

  @Test func anAddressOfWhatIsAttachedIsNotTheAdaptersOwn() throws {
    let host = kernel.addSASHost(0, at: place, phys: 2, address: "0x0000000000000000")
    let port = kernel.addPort("port-0:0", in: host, phys: ["phy-0:0"])
    _ = kernel.addSASDevice("end_device-0:0", in: port, ["sas_address": "0x5000c50011110010"])
    kernel.put("0x5000c50011110010", at: "class/sas_phy/phy-0:0/sas_address")
    #expect(kernel.sysfs.sasTopology().adapters.first?.addresses == [])
    kernel.put("0x500605b000000001", at: "class/scsi_host/host0/host_sas_address")
    #expect(kernel.sysfs.sasTopology().adapters.first?.identity?.description == "500605b000000001")
  }

  @Test func disksBehindAnExpanderAreFoundWithIt() throws {
    let host = kernel.addSASHost(3, at: place, phys: 4, address: "0x5000c50000000001")
    let wide = kernel.addPort("port-3:0", in: host, phys: (0..<4).map { "phy-3:\($0)" }, rate: "12.0 Gbit")
    let expander = kernel.addSASDevice("expander-3:0", in: wide, ["sas_address": "0x500a098000000abc"])
    kernel.put("ACME", at: "class/sas_expander/expander-3:0/vendor_id")
    kernel.put("0", at: "class/sas_expander/expander-3:0/level")
    for phy in 0..<2 {
      kernel.addPhy("phy-3:0:\(phy)", in: expander, identifier: phy, address: "0x500a098000000abc")
    }
    let port = kernel.addPort("port-3:0:0", in: expander, phys: ["phy-3:0:0"])
    let device = kernel.addSASDevice(
      "end_device-3:0:0", in: port, ["sas_address": "0x500a098000000a00", "target_port_protocols": "sata"])
    kernel.addUnit(disk(0, "3:0:0:0", "sda"), in: device)
    let topology = kernel.sysfs.sasTopology()
    #expect(topology.adapters.first?.phys.count == 4)
    #expect(topology.adapters.first?.ports.map(\.phys) == [[0, 1, 2, 3]])
    #expect(topology.adapters.first?.ports.first?.attached?.description == "500a098000000abc")
    let found = try #require(topology.expanders.first)
    #expect(found.vendor == "ACME" && found.phys.map(\.identifier) == [0, 1] && found.level == 0)
    #expect(topology.endDevices.first?.expander == found.address)
    #expect(topology.endDevices.first?.isSATA == true)
  }

  @Test func severalPathsToOneUnitAreOneDisk() {
    let unit: (String, String) -> FakeKernel.Unit = { address, block in
      var unit = FakeKernel.Unit(address, block: block)
      unit.name([0x60, 1, 0x40, 5] + [UInt8](repeating: 7, count: 12))
      return unit
    }
    for (number, session, block) in [(4, 1, "sdb"), (5, 2, "sdc")] as [(UInt32, Int, String)] {
      let host = kernel.addHost(number, at: "devices/platform", driver: "iscsi_tcp")
      let place = "\(host)/session\(session)"
      kernel.addClass("iscsi_session", "session\(session)", in: place)
      kernel.put("iqn.2001-04.example:shared", at: "class/iscsi_session/session\(session)/targetname")
      kernel.addClass("iscsi_connection", "connection\(session):0", in: "\(place)/connection\(session):0")
      kernel.put("10.0.0.\(session)", at: "class/iscsi_connection/connection\(session):0/persistent_address")
      kernel.put("3260", at: "class/iscsi_connection/connection\(session):0/persistent_port")
      kernel.addUnit(unit("\(number):0:0:0", block), in: place)
    }
    let units = SCSIUnit.grouped(kernel.sysfs.scsiUnitPaths())
    #expect(units.count == 1)
    #expect(units.first?.name?.text == "naa.60014005" + String(repeating: "07", count: 12))
    #expect(units.first?.paths.map(\.blockName) == ["sdb", "sdc"])
    #expect(
      units.first?.paths.map(\.attachment) == [
        .iSCSI(target: "iqn.2001-04.example:shared", portal: "10.0.0.1:3260"),
        .iSCSI(target: "iqn.2001-04.example:shared", portal: "10.0.0.2:3260"),
      ])
    #expect(units.first?.paths.first?.controller.address == nil)
  }

  @Test func unitsOfAdaptersWithoutSASClassesAreFoundToo() throws {
    let raid = kernel.addHost(1, at: place, driver: "megaraid_sas")
    var volume = FakeKernel.Unit("1:2:0:0", block: "sda")
    volume.attributes["wwid"] = "naa.600605b0000000000000000000000001"
    kernel.addUnit(volume, in: raid)
    let fibre = kernel.addHost(2, at: place, driver: "qla2xxx")
    kernel.addClass("fc_remote_ports", "rport-2:0-1", in: "\(fibre)/rport-2:0-1")
    kernel.put("0x500a098112233445", at: "class/fc_remote_ports/rport-2:0-1/port_name")
    kernel.addUnit(disk(9, "2:0:0:0", "sdb"), in: "\(fibre)/rport-2:0-1")
    kernel.make("devices/pci0000:00/0000:00:1f.2/ata3")
    let ata = kernel.addHost(5, at: "devices/pci0000:00/0000:00:1f.2/ata3", driver: "ahci")
    kernel.addUnit(FakeKernel.Unit("5:0:0:0", block: "sdc"), in: ata)
    let paths = kernel.sysfs.scsiUnitPaths()
    #expect(
      paths.map(\.attachment) == [
        .other(driver: "megaraid_sas"), .fibreChannel(0x500a_0981_1223_3445), .ata(port: 3),
      ])
    #expect(paths.map(\.name?.rank) == [.naaExtended, .naaRegistered, nil])
    #expect(paths.map(\.attachment.mayBeShared) == [true, true, false])
    #expect(kernel.sysfs.sasTopology().adapters.isEmpty)
    // Without a name they are never one.
    #expect(SCSIUnit.grouped([paths[2], paths[2]]).count == 2)
  }

  @Test func aUnitWithoutANameIsKnownByItsSerialNumber() {
    let host = kernel.addSASHost(0, at: place, phys: 0, address: "")
    var unit = FakeKernel.Unit("0:0:0:0", block: "sda")
    unit.serial("N1 SAS0")
    kernel.addUnit(unit, in: host)
    let path = kernel.sysfs.scsiUnitPaths().first
    #expect(path?.name == DiskName(rank: .serialNumber, text: "serial.SEAGATE.ST300MM0048.N1-SAS0"))
  }

  @Test func anEnclosureTellsTheSlotOfWhatDoesNotTellItself() throws {
    let host = kernel.addSASHost(0, at: place, phys: 1, address: "0x5000c50000000001")
    let port = kernel.addPort("port-0:0", in: host, phys: ["phy-0:0"])
    let device = kernel.addSASDevice("end_device-0:0", in: port, ["sas_address": "0x5000c50011110010"])
    let unit = kernel.addUnit(disk(0, "0:0:0:0", "sda"), in: device)
    let box = "devices/box"
    kernel.addClass("enclosure", "0:0:9:0", in: box)
    let node = "class/enclosure/0:0:9:0"
    kernel.put("0x500a098000000001", at: "\(node)/id")
    for (name, type) in [("Slot 01", "array device"), ("Fan 1", "fan"), ("Slot 00", "array device")] {
      kernel.make("\(node)/\(name)")
      kernel.put(type, at: "\(node)/\(name)/type")
      kernel.put("0", at: "\(node)/\(name)/fault")
      kernel.put("1", at: "\(node)/\(name)/locate")
      kernel.put(name.hasSuffix("1") ? "1" : "0", at: "\(node)/\(name)/slot")
    }
    kernel.link("\(node)/Slot 01/device", to: unit)
    let topology = kernel.sysfs.sasTopology()
    #expect(topology.enclosures.first?.slots.map(\.name) == ["Slot 00", "Slot 01"])
    #expect(topology.enclosures.first?.slots.last?.isLocating == true)
    #expect(topology.enclosures.first?.slots.last?.isFaulty == false)
    let disk = try #require(topology.endDevices.first)
    let slot = try #require(topology.slot(of: disk))
    #expect(slot.slot == 1 && slot.enclosure?.description == "500a098000000001")
  }

  @Test func aDiskThatIsOfflineSaysSo() {
    let host = kernel.addSASHost(0, at: place, phys: 0, address: "")
    var unit = disk(0, "0:0:0:0", "sda")
    unit.attributes["state"] = "transport-offline"
    kernel.addUnit(unit, in: host)
    #expect(kernel.sysfs.scsiUnitPaths().first?.state == .notRunning("transport-offline"))
  }
}
