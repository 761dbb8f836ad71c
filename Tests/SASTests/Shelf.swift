import FakeDevices
import Glibc
import LinuxDevices
import Synchronization

@testable import iov_plugin_sas

/// A host with a SAS adapter and the disks behind it: a kernel's tree, device nodes, and what the disks answer.
final class Shelf: Sendable {
  static let disk: [UInt8] = [0x50, 0, 0xc5, 0, 0x11, 0x11, 0, 0x10]
  static let identity = "naa.5000c50011110010"
  private static let place = "devices/pci0000:00/0000:00:02.0/0000:02:00.0"

  let kernel: FakeKernel
  private let host: String
  /// By the block device's name: what answers there.
  private let targets = Mutex<[String: FakeSCSITarget]>([:])
  /// What operators are told.
  let news = Mutex<[String]>([])
  /// The place that an adapter finds a disk at again after it was deleted there; nil: it stays away.
  private let returns = Mutex<(@Sendable (_ place: String) -> Void)?>(nil)

  init() throws {
    kernel = try FakeKernel()
    kernel.make(Self.place)
    kernel.put("1", at: "\(Self.place)/numa_node")
    kernel.make("bus/pci/devices")
    kernel.link("bus/pci/devices/0000:02:00.0", to: Self.place)
    kernel.make("dev/disk/by-id")
    host = kernel.addSASHost(0, at: Self.place, phys: 4, address: "0x5000c50000000001")
  }

  /// What describes the disks of this host now. One that was pulled is waited for so long.
  func disks(patience: Duration = .seconds(5)) -> SASDisks {
    let sysfs = Sysfs(root: kernel.root) { [weak self] value, path throws(SysfsError) in self?.answer(value, path) }
    return SASDisks(
      access: DiskAccess(
        sysfs: sysfs, devices: device(""),
        open: { [weak self] path in
          let name = String(path.split(separator: "/").last ?? "")
          guard let target = self?.targets.withLock({ $0[name] }) else {
            throw SystemCallError("open \(path)", errno: ENXIO)
          }
          return target.path(name)
        }, patience: patience, erasingPause: .milliseconds(1),
        tell: { [weak self] news in self?.news.withLock { $0.append(news) } }))
  }

  func device(_ name: String) -> String { name.isEmpty ? "\(kernel.root)/dev" : "\(kernel.root)/dev/\(name)" }

  /// A path to a disk by a port of its own.
  func plug(
    _ number: Int, as block: String, name: [UInt8] = disk, protocols: String = "ssp", _ target: FakeSCSITarget
  ) {
    let port = kernel.addPort("port-0:\(number)", in: host, phys: ["phy-0:\(number % 4)"])
    let device = kernel.addSASDevice(
      "end_device-0:\(number)", in: port,
      [
        "sas_address": "0x5000c5001111001\(number % 4)", "target_port_protocols": protocols,
        "enclosure_identifier": "0x500a098000000001", "bay_identifier": "7",
      ])
    addUnit("0:0:\(number):0", block, name, in: device, target)
  }

  /// Below the adapter's host, by no SAS device: "session1" makes it iSCSI's, "ata3" a SATA controller's.
  func plug(in directory: String, as block: String, _ target: FakeSCSITarget) {
    kernel.make("\(host)/\(directory)")
    addUnit("0:0:9:0", block, Self.disk, in: "\(host)/\(directory)", target)
  }

  private func addUnit(
    _ address: String, _ block: String, _ name: [UInt8], in device: String, _ target: FakeSCSITarget
  ) {
    var unit = FakeKernel.Unit(address, block: block)
    if !name.isEmpty { unit.name(name) }
    unit.serial("SERIAL")
    kernel.addUnit(unit, in: device)
    kernel.put("8:16", at: "class/block/\(block)/dev")
    kernel.put("", at: "dev/\(block)")
    targets.withLock { $0[block] = target }
  }

  func unplug(_ number: Int, _ block: String) {
    kernel.remove("\(host)/port-0:\(number)")
    for link in [
      "class/sas_port/port-0:\(number)", "class/sas_device/end_device-0:\(number)",
      "class/sas_end_device/end_device-0:\(number)", "class/block/\(block)", "block/\(block)", "dev/\(block)",
      "bus/scsi/devices/0:0:\(number):0",
    ] { kernel.remove(link) }
    targets.withLock { $0[block] = nil }
  }

  func link(_ name: String, to block: String) { kernel.link("dev/disk/by-id/\(name)", to: "dev/\(block)") }

  func comesBack(_ body: @escaping @Sendable (_ place: String) -> Void) { returns.withLock { $0 = body } }

  private func answer(_ value: String, _ path: String) {
    let parts = path.split(separator: "/").map(String.init)
    switch parts.last {
    case "delete":
      let address = parts[parts.count - 2]
      let block = kernel.sysfs.names(in: "bus/scsi/devices/\(address)/block").first ?? ""
      if let number = address.split(separator: ":").dropFirst(2).first.flatMap({ Int($0) }) { unplug(number, block) }
    case "scan": returns.withLock { $0 }?(value)
    default: break
    }
  }
}

extension FakeSCSITarget {
  /// A disk that tells of its health by log pages.
  static func telling(prognosis: UInt8, uncorrected: UInt8 = 0) -> FakeSCSITarget {
    FakeSCSITarget {
      $0.answers[[0x4d, 0, 0x40]] = [0, 0, 0, 3, 0, 3, 0x2f]
      $0.answers[[0x4d, 0, 0x6f]] = [0x2f, 0, 0, 8, 0, 0, 3, 4, prognosis, 0x10, 30, 0]
      $0.answers[[0x4d, 0, 0x43]] = [3, 0, 0, 5, 0, 6, 0, 1, uncorrected]
    }
  }
}
