import FakeDevices
import Glibc
import Testing

@testable import LinuxDevices

@Suite(.enabled(if: MappedDevice.isPossible, "This kernel has no device mapper."))
struct MappedDeviceTests {
  private static let block = 4096

  /// A disk of 8 MiB whose blocks say where they lie.
  private struct Disk {
    let loop: LoopDevice
    private let file: String

    init() throws {
      file = "/var/tmp/iov-mapped-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
      var bytes: [UInt8] = []
      for number in 0..<UInt8(8) { bytes += [UInt8](repeating: number + 1, count: 1 << 20) }
      try SmallFile.replace(file, with: bytes)
      loop = try LoopDevice.attach(to: file, offset: 0, size: 0, readOnly: false)
    }

    func remove() {
      try? loop.detach()
      unlink(file)
    }
  }

  private func name() -> String { "\(MappedDevice.prefix)test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))" }

  @Test func aPartIsADeviceOfItsOwn() throws {
    let disk = try Disk()
    defer { disk.remove() }
    let device = try MappedDevice.make(name(), over: disk.loop.path, offset: 2 << 20, size: 1 << 20, readOnly: false)
    #expect(try BlockDevice.facts(device.path).sizeBytes == 1 << 20)
    #expect(try MappedDevice.find(device.name) == device)
    #expect(try MappedDevice.all(over: disk.loop.path) == [device])
    do {
      let file = try FileDescriptor(opening: device.path, O_RDWR)
      var found = [UInt8](repeating: 0, count: Self.block)
      #expect(pread(file.number, &found, found.count, 0) == found.count && found.allSatisfy { $0 == 3 })
    }
    // Others of the kernel's are kept out, other parts are not.
    #expect(try !BlockDevice.isClaimedByKernel(disk.loop.path))
    #expect(throws: SystemCallError.self) { _ = try FileDescriptor(opening: disk.loop.path, O_RDONLY | O_EXCL) }
    let second = try MappedDevice.make(name(), over: disk.loop.path, offset: 4 << 20, size: 1 << 20, readOnly: true)
    #expect(try second.isReadOnly && BlockDevice.facts(second.path).isReadOnly)
    try second.withdraw()
    try device.withdraw()
    #expect(try MappedDevice.find(device.name) == nil && MappedDevice.all(over: disk.loop.path).isEmpty)
  }

  @Test func anOpenDeviceIsCutAndItsNameIsFreeAtOnce() throws {
    let disk = try Disk()
    defer { disk.remove() }
    let name = name()
    let device = try MappedDevice.make(name, over: disk.loop.path, offset: 0, size: 1 << 20, readOnly: false)
    var holder: FileDescriptor? = try FileDescriptor(opening: device.path, O_RDWR)
    let open = try #require(holder).number
    try device.withdraw()
    let bytes = [UInt8](repeating: 9, count: Self.block)
    #expect(pwrite(open, bytes, bytes.count, 0) != bytes.count || fsync(open) != 0)
    let next = try MappedDevice.make(name, over: disk.loop.path, offset: 0, size: 1 << 20, readOnly: false)
    #expect(next.path != device.path)
    // Long withdrawn: the name is another's.
    try device.withdraw()
    #expect(try MappedDevice.find(name) == next)
    holder = nil
    while access("/sys/block/\(device.path.dropFirst(5))", F_OK) == 0 {}
    try next.withdraw()
  }

  @Test func whatCannotBeMappedLeavesNothing() throws {
    let disk = try Disk()
    defer { disk.remove() }
    let name = name()
    #expect(throws: SystemCallError.self) {
      _ = try MappedDevice.make(name, over: disk.loop.path, offset: 8 << 20, size: 1 << 20, readOnly: false)
    }
    #expect(throws: SystemCallError.self) {
      _ = try MappedDevice.make(name, over: "/dev/null", offset: 0, size: 1 << 20, readOnly: false)
    }
    #expect(try MappedDevice.find(name) == nil)
  }
}

/// By the kernel's files alone; any device file will do.
struct MappedDeviceNamesTests {
  @Test func holdersThatAreTheProductsAreKnownByTheirNames() throws {
    let kernel = try FakeKernel()
    for (number, name) in ["iov-0123456789abcdef", "vg-volume", "iov-gone-3"].enumerated() {
      kernel.make("class/block/null/holders/dm-\(number)")
      kernel.make("class/block/dm-\(number)/dm")
      kernel.put(name, at: "class/block/dm-\(number)/dm/name")
    }
    #expect(MappedDevice.names(over: "/dev/null", sysfs: kernel.sysfs.root) == ["iov-0123456789abcdef", "iov-gone-3"])
    #expect(MappedDevice.names(over: "/dev/zero", sysfs: kernel.sysfs.root).isEmpty)
  }
}
