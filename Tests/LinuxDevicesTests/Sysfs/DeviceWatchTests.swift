import CLinux
import Glibc
import Testing

@testable import LinuxDevices

@Suite struct DeviceEventTests {
  private func datagram(_ words: String...) -> [UInt8] { words.flatMap { Array($0.utf8) + [0] } }

  @Test func aFunctionThatComesIsTold() throws {
    let event = try #require(
      DeviceEvent(
        datagram(
          "add@/devices/pci0000:00/0000:00:02.0/0000:01:10.1", "ACTION=add",
          "DEVPATH=/devices/pci0000:00/0000:00:02.0/0000:01:10.1", "SUBSYSTEM=pci", "PCI_ID=8086:10CA",
          "PCI_SLOT_NAME=0000:01:10.1", "SEQNUM=1234")))
    #expect(event.action == .add)
    #expect(event.subsystem == "pci")
    #expect(event.path == "devices/pci0000:00/0000:00:02.0/0000:01:10.1")
    #expect(event.pciAddress == PCIAddress(bus: 1, device: 16, function: 1))
    #expect(event.properties["PCI_ID"] == "8086:10CA")
    #expect(event.interface == nil)
  }

  @Test func anInterfaceKnowsItsFunction() throws {
    let event = try #require(
      DeviceEvent(
        datagram(
          "move@/devices/pci0000:00/0000:01:10.1/net/ens1v1", "SUBSYSTEM=net", "INTERFACE=ens1v1",
          "DEVPATH_OLD=/devices/pci0000:00/0000:01:10.1/net/eth3")))
    #expect(event.interface == "ens1v1")
    #expect(event.pciAddress == PCIAddress(bus: 1, device: 16, function: 1))
  }

  @Test(arguments: ["", "libudev", "add", "add@/x", "dance@/x\u{0}SUBSYSTEM=pci", "\u{0}\u{0}"])
  func whatIsNoEventOfTheKernelsIsNone(text: String) {
    #expect(DeviceEvent(Array(text.utf8) + [0]) == nil)
  }
}

@Suite struct DeviceWatchTests {
  @Test func anOverrunIsToldOnceThereIsRoom() {
    let event = DeviceEvent(Array("add@/x\u{0}SUBSYSTEM=pci\u{0}".utf8)).map { DeviceWatch.Change.event($0) }
    var relay = DeviceWatch.Relay()
    var told: [DeviceWatch.Change] = []
    var hasRoom = true
    func pass(_ change: DeviceWatch.Change?) {
      relay.pass(change) {
        if hasRoom { told.append($0) }
        return hasRoom
      }
    }
    pass(event)
    hasRoom = false
    for _ in 0..<3 { pass(event) }
    #expect(relay.owesOverrun)
    pass(nil)
    hasRoom = true
    pass(nil)
    pass(nil)
    pass(event)
    #expect(told == [event, .overrun, event].compactMap { $0 })
    pass(.overrun)
    #expect(told.last == .overrun)
  }

  @Test(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"))
  func interfacesOfTheNamespaceAreTold() async throws {
    let test = try TestNamespace("uevent")
    let watch = try DeviceWatch(in: test.namespace)
    try test.connect("near", to: "far", in: test)
    var added: Set<String> = []
    for await change in watch.changes {
      if case .event(let event) = change, event.action == .add, let name = event.interface { added.insert(name) }
      if added.isSuperset(of: ["near", "far"]) { break }
    }
    try test.route.delete(test.index("near"))
    for await change in watch.changes {
      if case .event(let event) = change, event.action == .remove, event.interface == "near" { break }
    }
  }

  @Test(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"))
  func aReaderThatIsLateIsToldToLookAtEverything() async throws {
    let test = try TestNamespace("uevent")
    let watch = try DeviceWatch(in: test.namespace, capacity: 1)
    for number in 0..<20 { try test.route.create(NewLink(.bridge, name: "bridge\(number)")) }
    var changes = watch.changes.makeAsyncIterator()
    while let change = await changes.next(), change != .overrun {}
  }

  @Test(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"))
  func whatAnotherProcessSaysIsNoEvent() async throws {
    let test = try TestNamespace("uevent")
    let watch = try DeviceWatch(in: test.namespace)
    let forger = try NetlinkSocket(.kernelEvents, in: test.namespace)
    let forged = Array("add@/devices/forged\u{0}SUBSYSTEM=net\u{0}INTERFACE=forged\u{0}".utf8)
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_groups = 1
    let sent = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(forger.descriptor, forged, forged.count, 0, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
      }
    }
    try #require(sent == forged.count)
    try test.route.create(NewLink(.bridge, name: "true"))
    for await change in watch.changes {
      guard case .event(let event) = change else { continue }
      #expect(event.interface != "forged")
      if event.interface == "true" { break }
    }
  }
}
