import CLinux
import FakeDevices
import Glibc
import Testing

@testable import LinuxDevices

private let podman = ChildProcess.path(of: "podman")

@Suite struct ContainerDeviceTests {
  private let kernel: FakeKernel
  private let directory: ContainerDeviceDirectory
  private var device: ContainerDevice

  init() throws {
    kernel = try FakeKernel()
    directory = ContainerDeviceDirectory(path: "\(kernel.root)/run/cdi")
    device = try #require(ContainerDevice(vendor: "iovmesh", deviceClass: "ethernet", name: "f0-7"))
  }

  @Test func anInterfaceTakesTheVersionThatHasThem() throws {
    var device = device
    device.interfaces = ["ens1v3": "net1"]
    #expect(device.qualifiedName == "iovmesh/ethernet=f0-7")
    #expect(
      device.document.text
        == #"{"cdiVersion":"1.1.0","devices":[{"containerEdits":{"netDevices":[{"hostInterfaceName":"ens1v3","name":"net1"}]},"#
        + #""name":"f0-7"}],"kind":"iovmesh/ethernet"}"#)
  }

  @Test func aDeviceFileIsTakenByEveryRuntime() throws {
    var device = device
    device.give(
      VFIODevice(group: 14, groupPath: "/dev/vfio/14", devicePath: nil),
      of: PCIAddress(bus: 3, device: 16, function: 2))
    #expect(
      device.document.text
        == #"{"cdiVersion":"0.3.0","devices":[{"containerEdits":{"deviceNodes":[{"path":"/dev/vfio/vfio","permissions":"rw"},"#
        + #"{"path":"/dev/vfio/14","permissions":"rw"}],"env":["IOV_PCI_ADDRESS=0000:03:10.2"]},"name":"f0-7"}],"#
        + #""kind":"iovmesh/ethernet"}"#)
  }

  @Test(arguments: ["", "0f", "f-", "a/b", "a b", "a=b", "-a", "ä"]) func aNameThatARuntimeRefusesIsRefused(
    name: String
  ) {
    #expect(ContainerDevice(vendor: "iovmesh", deviceClass: "ethernet", name: name) == nil)
    #expect(ContainerDevice(vendor: name, deviceClass: "ethernet", name: "f0") == nil)
    #expect(ContainerDevice(vendor: "iovmesh", deviceClass: name, name: "f0") == nil)
  }

  @Test func aFileIsWrittenWholeForEverybodyToReadAndGoes() throws {
    var device = device
    device.files = ["/dev/null"]
    try directory.write(device)
    #expect(directory.has(device))
    let path = "\(directory.path)/iovmesh-ethernet_f0-7.json"
    var status = stat()
    try #require(stat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o644)
    device.files = ["/dev/zero"]
    #expect(!directory.has(device))
    try directory.write(device)
    #expect(directory.has(device))
    // What a kill in the middle leaves is no device to a runtime, and goes as well.
    kernel.put("half", at: "run/cdi/iovmesh-ethernet_f0-7.json.new")
    kernel.put("{}", at: "run/cdi/nvidia.com-gpu_0.json")
    #expect(directory.names(vendor: "iovmesh", deviceClass: "ethernet") == ["f0-7"])
    for _ in 0..<2 { try directory.remove(device) }
    #expect(SmallFile.names(in: directory.path) == ["nvidia.com-gpu_0.json"])
  }

  /// A container is made and not started: for that the runtime has to find the device.
  @Test(.enabled(if: podman != nil && geteuid() == 0, "needs podman and root"))
  func podmanTakesADeviceFile() throws {
    let podman = try #require(podman)
    var device = try #require(ContainerDevice(vendor: "iovmesh", deviceClass: "test", name: "t\(getpid())"))
    device.files = ["/dev/zero"]
    device.environment = ["IOV_PCI_ADDRESS": "0000:03:10.2"]
    // Older ones look nowhere else.
    let standard = ContainerDeviceDirectory()
    try standard.write(device)
    defer { try? standard.remove(device) }
    kernel.make("rootfs/bin")
    let store = ["--root", "\(kernel.root)/store", "--runroot", "\(kernel.root)/run", "--storage-driver", "vfs"]
    func run(_ arguments: String...) throws -> Command.Outcome {
      try Command(executable: podman, arguments: store + arguments).run(atMost: .seconds(60))
    }
    func initialize(_ device: String) throws -> Command.Outcome {
      let name = "iovtest-\(getpid())"
      let created = try run(
        "create", "--name", name, "--network", "none", "--cgroups", "disabled", "--device", device,
        "--rootfs",
        "\(kernel.root)/rootfs", "/bin/true")
      try #require(created.status == .exited(0), "\(created.complaints)")
      defer { _ = try? run("rm", "--force", name) }
      return try run("init", name)
    }
    let taken = try initialize(device.qualifiedName)
    // What the runtime below cannot do (set limits, in a sandbox) is no word about the device.
    #expect(taken.status == .exited(0) || !taken.complaints.contains("CDI"), "\(taken.complaints)")
    let unknown = try initialize(device.qualifiedName + "x")
    #expect(unknown.complaints.contains("unresolvable CDI devices"))
  }
}
