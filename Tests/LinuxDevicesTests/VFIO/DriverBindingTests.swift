import FakeDevices
import Glibc
import Synchronization
import Testing

@testable import LinuxDevices

private let card = PCIAddress(bus: 1, device: 0, function: 0)
private let function = PCIAddress(bus: 1, device: 16, function: 0)
private let port = PCIAddress(bus: 0, device: 2, function: 0)

@Suite struct DriverBindingTests {
  private let kernel: FakeKernel
  private let binding: DriverBinding
  private var sysfs: Sysfs { kernel.sysfs }

  init() throws {
    kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: port))
    kernel.make("bus/pci/drivers/vfio-pci")
    kernel.make("bus/pci/drivers/igbvf")
    kernel.make("module/vfio_iommu_type1")
    try kernel.sysfs.write(2, to: "\(card.sysfsPath)/sriov_numvfs")
    kernel.writes.withLock { $0 = [] }
    binding = DriverBinding(kernel.sysfs) { name throws(SystemCallError) in
      throw SystemCallError("modprobe \(name)", errno: ENOEXEC)
    }
  }

  private func refuse(_ path: String, _ errors: CInt?...) { kernel.behaviour.withLock { $0.refusals[path] = errors } }

  private var override: String? { sysfs.text("\(function.sysfsPath)/driver_override") }

  @Test func aFunctionGoesToVFIOAndComesBack() throws {
    #expect(try binding.bindToVFIO(function) == "igbvf")
    #expect(sysfs.driver(of: function) == "vfio-pci")
    #expect(
      kernel.writes.withLock { $0 } == [
        "\(function.sysfsPath)/driver_override=vfio-pci", "bus/pci/drivers/igbvf/unbind=\(function)",
        "bus/pci/drivers_probe=\(function)",
      ])
    try binding.release(function, to: "igbvf")
    #expect(sysfs.driver(of: function) == "igbvf")
    #expect(override == "(null)")
  }

  @Test func bothAreDoneOnceHoweverOftenTheyAreAsked() throws {
    _ = try binding.bindToVFIO(function)
    kernel.writes.withLock { $0 = [] }
    #expect(try binding.bindToVFIO(function) == "vfio-pci")
    #expect(kernel.writes.withLock { $0.isEmpty })
    for _ in 0..<2 { try binding.release(function, to: "igbvf") }
    #expect(sysfs.driver(of: function) == "igbvf")
  }

  @Test func aFunctionWithoutADriverGoesBackToNone() throws {
    kernel.unbind(function)
    #expect(try binding.bindToVFIO(function) == nil)
    try binding.release(function, to: nil)
    #expect(sysfs.driver(of: function) == nil)
    #expect(override == "(null)")
  }

  @Test func aFunctionComesBackAlsoWhereNobodyLooksForDrivers() throws {
    _ = try binding.bindToVFIO(function)
    // Then the kernel binds what is overridden, and nothing else.
    kernel.behaviour.withLock { $0.virtualDriver = nil }
    try binding.release(function, to: "igbvf")
    #expect(sysfs.driver(of: function) == "igbvf")
  }

  @Test func aDriverThatHasGoneMeanwhileDoesNotGetItsFunctionBack() throws {
    _ = try binding.bindToVFIO(function)
    kernel.remove("bus/pci/drivers/igbvf")
    #expect(throws: BindingError.notTaken(function, wanted: "igbvf", found: nil, former: .lost("vfio-pci"))) {
      try binding.release(function, to: "igbvf")
    }
  }

  @Test func aGroupThatAnotherDriverUsesIsRefusedByName() throws {
    let other = PCIAddress(bus: 0, device: 3, function: 1)
    let group = try #require(sysfs.iommuGroup(of: function))
    kernel.addFunction(
      other, below: "devices/pci0000:00", PCIIdentifiers(vendor: 1, device: 2, classCode: 0x010601), driver: "ahci",
      group: group)
    let error = #expect(throws: BindingError.self) { try binding.bindToVFIO(function) }
    #expect(error == .groupShared(function, group: group, with: [.init(address: other, driver: "ahci")]))
    #expect(error?.description.contains("0000:00:03.1 (driver ahci)") == true)
    #expect(kernel.writes.withLock { $0.isEmpty })
    kernel.unbind(other)
    #expect(throws: Never.self) { try binding.bindToVFIO(function) }
  }

  @Test func bridgesInTheGroupAreNoObstacle() throws {
    let group = try #require(sysfs.iommuGroup(of: function))
    kernel.addFunction(
      PCIAddress(bus: 0, device: 4, function: 0), below: "devices/pci0000:00",
      PCIIdentifiers(vendor: 1, device: 2, classCode: 0x060400), driver: "pcieport", group: group)
    #expect(throws: Never.self) { try binding.bindToVFIO(function) }
  }

  @Test func withoutAnIOMMUNothingIsTouched() {
    kernel.remove("\(function.sysfsPath)/iommu_group")
    #expect(throws: BindingError.noGroup(function)) { try binding.bindToVFIO(function) }
    #expect(sysfs.driver(of: function) == "igbvf")
  }

  @Test func aCardWithFunctionsIsNotGivenAway() {
    #expect(throws: BindingError.hasVirtualFunctions(card, count: 2)) { try binding.bindToVFIO(card) }
  }

  @Test func aDriverThatDoesNotTakeTheFunctionIsFoundOutAndTheFormerOneIsBack() {
    // The kernel answers success to a probe that matches nothing.
    kernel.behaviour.withLock {
      $0.before["bus/pci/drivers_probe"] = { [kernel] in kernel.remove("bus/pci/drivers/vfio-pci") }
    }
    #expect(throws: BindingError.notTaken(function, wanted: "vfio-pci", found: nil, former: .restored("igbvf"))) {
      try binding.bindToVFIO(function)
    }
    #expect(sysfs.driver(of: function) == "igbvf")
    #expect(override == "(null)")
  }

  @Test(arguments: [EBUSY, EINVAL, EPERM])
  func aRefusalOfTheProbeBringsTheFormerDriverBack(errno: CInt) throws {
    refuse("bus/pci/drivers_probe", errno)
    let error = #expect(throws: BindingError.self) { try binding.bindToVFIO(function) }
    guard case .refused(function, let reason, former: .restored("igbvf"))? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(reason.errno == errno)
    #expect(sysfs.driver(of: function) == "igbvf")
  }

  @Test func aFormerDriverThatCannotBeHadAgainIsNamed() {
    refuse("bus/pci/drivers_probe", EINVAL, EINVAL)
    let error = #expect(throws: BindingError.self) { try binding.bindToVFIO(function) }
    #expect(error?.description.contains("It had driver igbvf before") == true)
  }

  @Test func aFunctionThatIsPulledOutInTheMiddleIsSaidToBeGone() {
    for path in ["\(function.sysfsPath)/driver_override", "bus/pci/drivers/igbvf/unbind", "bus/pci/drivers_probe"] {
      kernel.behaviour.withLock { $0.before[path] = { [kernel] in kernel.unplug(function) } }
      #expect(throws: BindingError.vanished(function)) { try binding.bindToVFIO(function) }
      kernel.behaviour.withLock { $0.before = [:] }
    }
    #expect(throws: BindingError.vanished(function)) { try binding.release(function, to: "igbvf") }
  }

  @Test func modulesThatAreMissingAreLoadedByName() throws {
    kernel.remove("bus/pci/drivers/vfio-pci")
    kernel.remove("module/vfio_iommu_type1")
    let error = #expect(throws: BindingError.self) { try binding.bindToVFIO(function) }
    #expect(error?.description.contains("`modprobe vfio-pci` says: modprobe vfio-pci") == true)
    let asked = Mutex<[String]>([])
    let loading = DriverBinding(sysfs) { [kernel] name throws(SystemCallError) in
      asked.withLock { $0.append(name) }
      kernel.make(name == "vfio-pci" ? "bus/pci/drivers/vfio-pci" : "module/\(name)")
    }
    _ = try loading.bindToVFIO(function)
    #expect(asked.withLock { $0 } == ["vfio-pci", "vfio_iommu_type1"])
  }

  @Test func theDeviceFileIsFoundByTheGroupOfTheMoment() throws {
    kernel.make("dev/vfio")
    let devices = "\(kernel.root)/dev"
    #expect(throws: BindingError.self) { try sysfs.vfioDevice(of: function, devices: devices) }
    _ = try binding.bindToVFIO(function)
    let group = try #require(sysfs.iommuGroup(of: function))
    #expect(throws: BindingError.noDeviceFile(function, "\(devices)/vfio/\(group)")) {
      try sysfs.vfioDevice(of: function, devices: devices)
    }
    kernel.put("", at: "dev/vfio/\(group)")
    let device = try sysfs.vfioDevice(of: function, devices: devices)
    #expect(device == VFIODevice(group: group, groupPath: "\(devices)/vfio/\(group)", devicePath: nil))
    kernel.make("\(function.sysfsPath)/vfio-dev/vfio3")
    #expect(try sysfs.vfioDevice(of: function, devices: devices).devicePath == "\(devices)/vfio/devices/vfio3")
  }

  @Test(arguments: [
    ("vfio-pci", true), ("mlx5-vfio-pci", true), ("igbvf", false), ("pci-stub", false), ("vfiox", false),
  ])
  func aVFIODriverIsToldByItsName(name: String, isOne: Bool) {
    #expect(DriverBinding.isVFIO(name) == isOne)
  }
}

@Suite struct FunctionResetTests {
  private let kernel: FakeKernel
  private var sysfs: Sysfs { kernel.sysfs }

  init() throws {
    kernel = try FakeKernel()
    kernel.addCard(.init(address: card, port: port))
    try kernel.sysfs.write(1, to: "\(card.sysfsPath)/sriov_numvfs")
    kernel.writes.withLock { $0 = [] }
  }

  private func methods(_ text: String) { kernel.put(text, at: "\(function.sysfsPath)/reset_method") }

  @Test func aFunctionThatADriverHasIsNotReset() {
    #expect(throws: ResetError.driven(function, by: "igbvf")) { try sysfs.reset(function) }
    #expect(kernel.writes.withLock { $0.isEmpty })
  }

  @Test(arguments: ["vfio-pci", nil]) func aFunctionOfNobodyOrOfVFIOIsReset(driver: String?) throws {
    kernel.unbind(function)
    if let driver { kernel.bind(function, to: driver) }
    #expect(try sysfs.reset(function) == "flr")
    #expect(kernel.writes.withLock { $0 } == ["\(function.sysfsPath)/reset=1"])
  }

  @Test func aMethodThatIsNotTheFirstIsChosenAndTheListPutBack() throws {
    kernel.unbind(function)
    methods("bus flr")
    #expect(try sysfs.reset(function) == "flr")
    #expect(
      kernel.writes.withLock { $0 } == [
        "\(function.sysfsPath)/reset_method=flr", "\(function.sysfsPath)/reset=1",
        "\(function.sysfsPath)/reset_method=bus flr",
      ])
  }

  @Test(arguments: [
    ("device_specific flr", "device_specific"), ("acpi flr bus", "flr"), ("af_flr", "af_flr"), ("pm bus", "pm"),
  ])
  func theNarrowestMethodIsTaken(list: String, method: String) throws {
    kernel.unbind(function)
    methods(list)
    #expect(try sysfs.reset(function) == method)
  }

  @Test func aResetThatReachesOthersIsRefused() {
    kernel.unbind(function)
    methods("bus cxl_bus")
    #expect(throws: ResetError.notOffered(function, methods: ["bus", "cxl_bus"])) { try sysfs.reset(function) }
  }

  @Test func anOlderKernelIsTrustedWithVirtualFunctionsOnly() throws {
    kernel.unbind(function)
    kernel.unbind(card)
    kernel.remove("\(function.sysfsPath)/reset_method")
    kernel.remove("\(card.sysfsPath)/reset_method")
    #expect(try sysfs.reset(function) == nil)
    #expect(throws: ResetError.notOffered(card, methods: [])) { try sysfs.reset(card) }
  }

  @Test func aFunctionThatDoesNotAnswerAfterwardsIsFoundOut() throws {
    kernel.unbind(function)
    // A virtual function's identifiers read as all ones always.
    kernel.put([0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0], at: "\(function.sysfsPath)/config")
    #expect(try sysfs.reset(function) == "flr")
    kernel.put([UInt8](repeating: 0xff, count: 64), at: "\(function.sysfsPath)/config")
    #expect(throws: ResetError.silent(function)) { try sysfs.reset(function) }
  }

  @Test func aRefusalAndAnUnpluggedFunctionAreTold() {
    kernel.unbind(function)
    kernel.behaviour.withLock { $0.refusals["\(function.sysfsPath)/reset"] = [ENOTTY] }
    let error = #expect(throws: ResetError.self) { try sysfs.reset(function) }
    #expect(error?.description.contains("Inappropriate ioctl") == true)
    kernel.behaviour.withLock { $0.before["\(function.sysfsPath)/reset"] = { [kernel] in kernel.unplug(function) } }
    #expect(throws: ResetError.vanished(function)) { try sysfs.reset(function) }
    #expect(throws: ResetError.vanished(function)) { try sysfs.reset(function) }
  }
}
