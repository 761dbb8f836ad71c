import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct EthernetDiscoveryTests {
  private let card = PCIAddress(bus: 1, device: 0, function: 0)

  @Test func everyCardIsFoundWithItsFunctionsTheirSettingsAndTheirInterfaces() throws {
    let host = try CrowdedHost(cards: 3, functions: 5)
    let cards = try host.discover()
    #expect(cards.map(\.link.name) == ["ens0", "ens1", "ens2"])
    #expect(cards.map(\.identity.text) == (0..<3).map { "mac/52:54:00:aa:00:0\($0)" })
    for card in cards {
      #expect(card.virtualFunctions.map(\.position.index) == [0, 1, 2, 3, 4])
      #expect(card.virtualFunctions.allSatisfy { $0.settings?.spoofCheck == true })
      #expect(card.virtualFunctions.map(\.link?.name) == (0..<5).map { "\(card.link.name)v\($0)" })
      #expect(card.virtualFunctions.allSatisfy { $0.position.driver == "igbvf" && $0.position.iommuGroup != nil })
    }
  }

  @Test func aCardWithoutFunctionsIsACardAndAPlainOneIsNone() throws {
    let kernel = try FakeKernel()
    let port = PCIAddress(bus: 0, device: 2, function: 0)
    let plain = PCIAddress(bus: 1, device: 0, function: 1)
    kernel.addCard(.init(address: card, port: port))
    kernel.addFunction(
      plain, below: "devices/pci0000:00/\(port)", PCIIdentifiers(vendor: 1, device: 2, classCode: 0x020000),
      driver: "e1000e")
    let links = FakeLinks([
      FakeLinks.link("eth0", index: 2, at: card, functions: 0), FakeLinks.link("eth1", index: 3, at: plain),
    ])
    let cards = try EthernetDiscovery(kernel.sysfs, links).look().cards
    #expect(cards.map(\.link.name) == ["eth0"])
    #expect(cards.first?.virtualFunctions.isEmpty == true)
    // Without an address of its own, its place is all that is known of it.
    #expect(cards.first?.identity.text == "pci/0000:01:00.0")
  }

  @Test func twoPortsOfOneFunctionAreTwoCardsAndARepresentorIsNone() throws {
    let kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: PCIAddress(bus: 0, device: 2, function: 0)))
    kernel.put("00-a0-c9-ff-ff-00-00-01", at: "\(card.sysfsPath)/serial_number")
    for (name, port) in [("eth0", 0), ("eth1", 1)] {
      kernel.make("\(card.sysfsPath)/net/\(name)")
      kernel.put("\(port)", at: "\(card.sysfsPath)/net/\(name)/dev_port")
    }
    let links = FakeLinks([
      FakeLinks.link("eth1", index: 3, at: card, portName: "p1", functions: 0),
      FakeLinks.link("eth0", index: 2, at: card, portName: "p0", functions: 0),
      FakeLinks.link("eth2", index: 4, at: card, portName: "pf0vf0", functions: 0),
    ])
    let cards = try EthernetDiscovery(kernel.sysfs, links).look().cards
    #expect(cards.map(\.identity.text) == ["serial/00-a0-c9-ff-ff-00-00-01/0", "serial/00-a0-c9-ff-ff-00-00-01/0/1"])
    #expect(cards.map(\.devicePort) == [0, 1])
  }

  @Test func aCardThatIsPulledOutMeanwhileIsLeftOut() throws {
    let host = try CrowdedHost(cards: 2, functions: 1)
    host.kernel.unplug(card)
    #expect(try host.discover().map(\.link.name) == ["ens1"])
  }
}
