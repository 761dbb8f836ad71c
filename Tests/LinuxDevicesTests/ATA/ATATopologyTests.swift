import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct ATATopologyTests {
  private let kernel: FakeKernel
  private let controller = "devices/pci0000:00/0000:00:1f.2"

  init() throws { kernel = try FakeKernel() }

  /// Answers the directory of the port's host.
  private func addPort(_ number: UInt32, multiplierLinks: Int = 0) -> String {
    let port = "\(controller)/ata\(number)"
    kernel.make(port)
    kernel.addClass("ata_port", "ata\(number)", in: port)
    kernel.put("\(number)", at: "class/ata_port/ata\(number)/port_no")
    kernel.put("\(multiplierLinks)", at: "class/ata_port/ata\(number)/nr_pmp_links")
    return kernel.addHost(number - 1, at: port, driver: "ahci")
  }

  private func addLink(_ name: String, port: UInt32, speed: String, device: String, kind: String) {
    let link = "\(controller)/ata\(port)/\(name)"
    kernel.make(link)
    kernel.addClass("ata_link", name, in: link)
    kernel.put(speed, at: "class/ata_link/\(name)/sata_spd")
    kernel.make("\(link)/\(device)")
    kernel.addClass("ata_device", device, in: "\(link)/\(device)")
    kernel.put(kind, at: "class/ata_device/\(device)/class")
  }

  @Test func drivesAreFoundByPortAndEmptyPortsAreEmpty() {
    let host = addPort(1)
    addLink("link1", port: 1, speed: "6.0 Gbps", device: "dev1.0", kind: "ata")
    kernel.addUnit(FakeKernel.Unit("0:0:0:0", block: "sda"), in: host)
    _ = addPort(10)
    addLink("link10", port: 10, speed: "<unknown>", device: "dev10.0", kind: "unknown")
    let ports = kernel.sysfs.sataPorts()
    #expect(ports.map(\.number) == [1, 10])
    #expect(ports[0].controller == PCIAddress("0000:00:1f.2") && ports[0].controllerPort == 1)
    #expect(ports[0].multiplierLinks == nil)
    #expect(ports[0].links.map(\.megabitsPerSecond) == [6000])
    #expect(ports[0].links[0].devices.map(\.unitAddress) == ["0:0:0:0"])
    #expect(ports[1].links.map(\.megabitsPerSecond) == [nil] && ports[1].links[0].devices.isEmpty)
    #expect(kernel.sysfs.scsiUnitPath("0:0:0:0")?.attachment == .ata(port: 1))
  }

  @Test func drivesBehindAPortMultiplierEachHaveALinkOfTheirOwn() {
    let host = addPort(3, multiplierLinks: 2)
    addLink("link3", port: 3, speed: "3.0 Gbps", device: "dev3.0", kind: "pmp")
    for number in 0..<2 {
      addLink("link3.\(number)", port: 3, speed: "3.0 Gbps", device: "dev3.\(number).0", kind: "ata")
      kernel.addUnit(FakeKernel.Unit("2:\(number):0:0", block: "sd\(number == 0 ? "a" : "b")"), in: host)
    }
    let port = kernel.sysfs.sataPorts().first
    #expect(port?.multiplierLinks == 2)
    #expect(port?.links.map(\.multiplierPort) == [nil, 0, 1])
    #expect(port?.links.map { $0.devices.map(\.unitAddress) } == [[nil], ["2:0:0:0"], ["2:1:0:0"]])
    #expect(port?.links.first?.devices.first?.kind == "pmp")
  }
}
