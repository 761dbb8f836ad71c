import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct PCIFunctionTests {
  private let card = PCIAddress(bus: 1, device: 0, function: 0)
  private let port = PCIAddress(bus: 0, device: 2, function: 0)

  @Test(arguments: [
    ("0000:03:10.2", PCIAddress(bus: 3, device: 16, function: 2)),
    ("10000:e1:00.0", PCIAddress(domain: 0x10000, bus: 0xe1, device: 0, function: 0)),
  ])
  func anAddressPrintsAsItIsRead(text: String, address: PCIAddress) {
    #expect(PCIAddress(text) == address)
    #expect(address.description == text)
  }

  @Test(arguments: [
    "", "0000:03:10", "03:10.2", "0000:03:10.8", "0000:03:20.0", "0000:3:10.2", "0000:003:10.2", "0000:03:10.2.1",
    "0000:03:10.", "000:03:10.2", "123456789:03:10.2", "0000:03:1g.2", "0000:03:10.2 ",
  ])
  func whatIsNoAddressIsRefused(text: String) {
    #expect(PCIAddress(text) == nil)
  }

  @Test func aFunctionIsReadWhole() throws {
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: port))
    kernel.put("1", at: "\(card.sysfsPath)/numa_node")
    kernel.put("8.0 GT/s PCIe", at: "\(card.sysfsPath)/current_link_speed")
    kernel.put("4", at: "\(card.sysfsPath)/current_link_width")
    kernel.put("2.5 GT/s PCIe", at: "\(card.sysfsPath)/max_link_speed")
    kernel.put("8", at: "\(card.sysfsPath)/max_link_width")
    let function = try #require(kernel.sysfs.pciFunction(card))
    #expect(function.identifiers.vendor == 0x8086)
    #expect(function.identifiers.subsystemDevice == 0xa03c)
    #expect(function.identifiers.isNetworkController)
    #expect(function.driver == "igb")
    #expect(function.numaNode == 1)
    #expect(function.iommuGroup.map(kernel.sysfs.members) == [card])
    #expect(function.link == PCIeLink(megatransfersPerSecond: 8000, lanes: 4))
    #expect(function.maximumLink == PCIeLink(megatransfersPerSecond: 2500, lanes: 8))
    #expect(function.resetMethods == ["flr", "bus"])
    #expect(function.sriov?.total == 7)
    #expect(function.sriov?.deviceIdentifier == 0x10ca)
    #expect(kernel.sysfs.upstream(of: card) == [port])
    #expect(kernel.sysfs.physicalFunctionAddresses() == [card])
  }

  @Test func virtualFunctionsAreFoundByTheirLinksAndKnowTheirCard() throws {
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: port))
    try kernel.sysfs.write(3, to: "\(card.sysfsPath)/sriov_numvfs")
    // The kernel has the last word on where a function is.
    let elsewhere = PCIAddress(bus: 2, device: 5, function: 1)
    kernel.addFunction(
      elsewhere, below: "devices/pci0000:00/\(port)", PCIIdentifiers(vendor: 0x8086, device: 0x10ca), driver: nil)
    kernel.link("\(card.sysfsPath)/virtfn1", to: elsewhere.sysfsPath)
    kernel.link("\(elsewhere.sysfsPath)/physfn", to: card.sysfsPath)
    let functions = try #require(kernel.sysfs.sriovCapability(of: card)).functions
    #expect(functions.map(\.index) == [0, 1, 2])
    #expect(functions[0].address == PCIAddress(bus: 1, device: 16, function: 0))
    #expect(functions[0].driver == "igbvf")
    #expect(functions[1].address == elsewhere)
    #expect(functions[1].driver == nil)
    #expect(kernel.sysfs.pciFunction(elsewhere)?.physicalFunction == card)
    #expect(kernel.sysfs.pciFunction(port)?.role == .plain)
  }

  @Test func aFunctionThatIsGoneReadsAsNothing() throws {
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: port))
    kernel.unplug(card)
    #expect(kernel.sysfs.pciFunction(card) == nil)
    #expect(kernel.sysfs.sriovCapability(of: card) == nil)
    #expect(kernel.sysfs.upstream(of: card).isEmpty)
  }

  @Test(arguments: [("Unknown", "8"), ("8.0 GT/s PCIe", "0"), ("8.0 GT/s PCIe", "255"), ("", "8"), ("8.x GT/s", "1")])
  func aLinkThatIsDownHasNoSpeed(speed: String, width: String) {
    #expect(PCIeLink(speed: speed, width: width) == nil)
  }

  @Test(arguments: [
    ("p0", PortFlavour.physical(0)), ("p1s2", .physical(1)), ("pf0", .physicalFunction(0)),
    ("pf0vf3", .virtualFunction(3, ofPhysicalFunction: 0)), ("c1pf2vf13", .virtualFunction(13, ofPhysicalFunction: 2)),
    ("pf0sf88", .subfunction(88, ofPhysicalFunction: 0)), ("", .unnamed), ("p", .unnamed), ("port1", .unnamed),
    ("pf0vf", .unnamed), ("p99999999999", .unnamed),
  ])
  func aPortIsToldByItsHardwareName(name: String, flavour: PortFlavour) {
    #expect(PortFlavour(name) == flavour)
  }

  @Test func theInterfacesOfAFunctionAreSortedByTheirPort() throws {
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: port))
    for (name, index, devicePort, portName) in [("eth9", 4, 1, "p1"), ("eth10", 5, 0, "p0"), ("rep0", 6, 0, "pf0vf0")] {
      let directory = "\(card.sysfsPath)/net/\(name)"
      kernel.make(directory)
      kernel.put("\(index)", at: "\(directory)/ifindex")
      kernel.put("\(devicePort)", at: "\(directory)/dev_port")
      kernel.put(portName, at: "\(directory)/phys_port_name")
      kernel.put("52:54:00:aa:00:0\(index)", at: "\(directory)/address")
    }
    // Gone while it was read.
    kernel.make("\(card.sysfsPath)/net/ghost")
    let ports = kernel.sysfs.networkPorts(of: card)
    #expect(ports.map(\.name) == ["eth10", "rep0", "eth9"])
    #expect(ports.map(\.flavour.isRepresentor) == [false, true, false])
    #expect(ports[2].macAddress == MACAddress("52:54:00:aa:00:04"))
  }
}
