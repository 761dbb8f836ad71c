import FakeDevices
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Synchronization

@testable import iov_plugin_nvme

/// A host with one drive: what its controllers have attached is what its sysfs shows, as a kernel keeps it.
final class FakeDriveHost: Sendable {
  static let address = PCIAddress(bus: 3, device: 0, function: 0)
  static let port = PCIAddress(bus: 0, device: 3, function: 0)
  let kernel: FakeKernel
  let drive: FakeNVMeDrive
  let devices: String
  /// The numbers of namespaces that the kernel has block devices of, with the devices' numbers.
  private let shown = Mutex<(devices: [UInt32: Int], next: Int)>(([:], 1))

  init(namespaces: [UInt32] = [1], _ adjust: (inout FakeNVMeDrive.Behaviour) -> Void = { _ in }) throws {
    kernel = try FakeKernel()
    drive = FakeNVMeDrive(adjust)
    devices = "\(kernel.root)/dev"
    kernel.make("dev")
    kernel.make("block")
    kernel.make("class/block")
    kernel.behaviour.withLock { $0.virtualDriver = nil }
    for driver in ["vfio-pci", "nvme"] { kernel.make("bus/pci/drivers/\(driver)") }
    kernel.make("module/vfio_iommu_type1")
    kernel.addCard(FakeKernel.Card(address: Self.address, total: 4, driver: "nvme", port: Self.port))
    kernel.addClass("nvme", "nvme0", in: Self.address.sysfsPath)
    let attributes = [
      "state": "live", "transport": "pcie", "address": "\(Self.address)", "cntlid": "0", "numa_node": "1",
      "subsysnqn": "nqn.test:one", "serial": "N1NVME", "model": "Fake", "firmware_rev": "10.0", "rescan_controller": "",
    ]
    for (name, text) in attributes { kernel.put(text, at: "class/nvme/nvme0/\(name)") }
    for number in namespaces { drive.addNamespace(number) { $0.attached = [0] } }
    follow()
  }

  var access: NVMeAccess {
    NVMeAccess(sysfs: kernel.sysfs, devices: devices, patience: .milliseconds(200)) { [self] path in
      guard path.hasPrefix("\(devices)/nvme0") else { throw SystemCallError("open \(path)", errno: ENOENT) }
      return Transport(host: self)
    }
  }

  func path(_ number: UInt32) -> String { "\(devices)/by-id-\(number)" }

  /// Block devices come and go with what is attached to the primary controller; a new one has a new name.
  func follow() {
    shown.withLock { shown in
      for number in UInt32(1)...4 {
        let isAttached = drive.namespace(number)?.attached.contains(0) == true
        if isAttached, shown.devices[number] == nil {
          shown.devices[number] = shown.next
          add("nvme0n\(shown.next)", number)
          shown.next += 1
        } else if !isAttached, let device = shown.devices.removeValue(forKey: number) {
          kernel.remove("block/nvme0n\(device)")
          kernel.remove("class/block/nvme0n\(device)")
          kernel.remove("class/nvme/nvme0/nvme0n\(device)")
          kernel.remove("dev/nvme0n\(device)")
          kernel.remove("dev/by-id-\(number)")
        }
      }
    }
  }

  private func add(_ name: String, _ number: UInt32) {
    let place = "class/nvme/nvme0/\(name)"
    kernel.make("\(place)/queue")
    let attributes = [
      "dev": "259:\(number)", "size": "\(1 << 21)", "ro": "0", "nsid": "\(number)",
      "nguid": "00000000-0000-0000-0000-00000000000\(number)", "queue/logical_block_size": "4096",
    ]
    for (attribute, text) in attributes { kernel.put(text, at: "\(place)/\(attribute)") }
    kernel.link("block/\(name)", to: place)
    kernel.link("class/block/\(name)", to: place)
    kernel.put("", at: "dev/\(name)")
    symlink("\(devices)/\(name)", path(number))
  }

  private struct Transport: NVMeTransport {
    let host: FakeDriveHost
    var name: String { "/dev/nvme0" }

    func execute(_ request: NVMeRequest, _ data: CommandData, timeout: Duration) throws(NVMeFailure) -> NVMeAnswer {
      defer { host.follow() }
      return try host.drive.controller().execute(request, data, timeout: timeout)
    }
  }
}
