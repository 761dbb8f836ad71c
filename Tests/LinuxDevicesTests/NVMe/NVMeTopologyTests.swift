import FakeDevices
import Testing

@testable import LinuxDevices

@Suite struct NVMeTopologyTests {
  private let kernel: FakeKernel

  init() throws { kernel = try FakeKernel() }

  private func addController(_ name: String, _ address: String, cntlid: Int, state: String = "live", nqn: String) {
    let place = "devices/pci0000:00/\(address)"
    kernel.make(place)
    kernel.make("bus/pci/devices")
    kernel.link("bus/pci/devices/\(address)", to: place)
    kernel.addClass("nvme", name, in: place)
    let attributes = [
      "state": state, "transport": "pcie", "address": address, "cntlid": "\(cntlid)", "numa_node": "-1",
      "subsysnqn": nqn,
      "serial": "N1NVME              ", "model": "QEMU NVMe Ctrl", "firmware_rev": "10.0",
    ]
    for (attribute, value) in attributes { kernel.put(value, at: "class/nvme/\(name)/\(attribute)") }
  }

  private func addNamespace(_ name: String, at place: String, _ attributes: [String: String]) {
    kernel.make("\(place)/\(name)")
    kernel.make("block")
    kernel.link("block/\(name)", to: "\(place)/\(name)")
    for (attribute, value) in attributes { kernel.put(value, at: "\(place)/\(name)/\(attribute)") }
  }

  @Test func aNamespaceOfTwoControllersIsOne() throws {
    addController("nvme0", "0000:03:00.0", cntlid: 0, nqn: "nqn.2019-08.org.qemu:rack1")
    addController("nvme1", "0000:03:00.1", cntlid: 1, nqn: "nqn.2019-08.org.qemu:rack1")
    let names = ["nsid": "1", "nguid": "00000000-0000-0000-0000-000000000001", "eui": "00 00 00 00 00 00 00 00"]
    let subsystem = "devices/virtual/nvme-subsystem/nvme-subsys0"
    addNamespace("nvme0n1", at: subsystem, names)
    addNamespace("nvme0c0n1", at: "class/nvme/nvme0", names)
    addNamespace("nvme0c1n1", at: "class/nvme/nvme1", names)
    let found = try #require(kernel.sysfs.nvmeSubsystems().first)
    #expect(kernel.sysfs.nvmeSubsystems().count == 1)
    #expect(found.serialNumber == "N1NVME")
    #expect(found.controllers.map(\.name) == ["nvme0", "nvme1"])
    #expect(found.controllers.map(\.identifier) == [0, 1])
    #expect(found.controllers.last?.address == PCIAddress("0000:03:00.1"))
    #expect(found.controllers.allSatisfy { $0.state == .live && $0.numaNode == nil })
    #expect(found.namespaces.map(\.blockName) == ["nvme0n1"])
    #expect(found.namespaces.first?.controllers == ["nvme0", "nvme1"])
    #expect(found.namespaces.first?.name?.text == "eui." + String(repeating: "0", count: 31) + "1")
    #expect(kernel.sysfs.nvmeController(at: try #require(PCIAddress("0000:03:00.1")))?.name == "nvme1")
  }

  @Test func withoutPathsOfTheirOwnNamespacesLieWithTheirController() {
    addController("nvme2", "0000:04:00.0", cntlid: 0, nqn: "nqn.a")
    addController("nvme3", "0000:05:00.0", cntlid: 0, state: "dead", nqn: "nqn.b")
    addNamespace("nvme2n1", at: "class/nvme/nvme2", ["nsid": "1", "wwid": "nvme.1b36-4e31-51-00000001"])
    addNamespace("nvme2n2", at: "class/nvme/nvme2", ["nsid": "2", "uuid": "01020304-0506-0708-090a-0b0c0d0e0f10"])
    kernel.make("block/nvme2n2p1")
    let subsystems = kernel.sysfs.nvmeSubsystems()
    #expect(subsystems.map(\.qualifiedName) == ["nqn.a", "nqn.b"])
    #expect(subsystems[0].namespaces.map(\.name?.rank) == [.serialNumber, .uuid])
    #expect(subsystems[0].namespaces.map(\.number) == [1, 2])
    #expect(subsystems[1].controllers.first?.state == .notLive("dead"))
    #expect(subsystems[1].namespaces.isEmpty)
  }

  @Test func namesAreReadToTheirEnd() {
    #expect(NVMeBlockName("nvme0n1")?.head == "nvme0n1")
    #expect(NVMeBlockName("nvme10c3n12")?.head == "nvme10n12")
    #expect(NVMeBlockName("nvme10c3n12")?.controller == 3)
    for other in ["nvme0", "nvme0n1p2", "sda", "nvme", "nvmen1", "nvme0cn1", "ng0n1", "nvme0c0"] {
      #expect(NVMeBlockName(other) == nil)
    }
  }
}
