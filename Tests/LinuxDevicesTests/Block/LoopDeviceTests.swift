import Glibc
import LinuxDevices
import Testing

private let canAttach = geteuid() == 0 && access("/dev/loop-control", R_OK | W_OK) == 0

/// A file of zeros that goes when its last holder does.
private final class ScratchFile: Sendable {
  let path: String

  init(byteCount: Int) throws {
    var template = Array("/tmp/iov-block-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let file = FileDescriptor(owning: descriptor)
    try #require(ftruncate(file.number, byteCount) == 0)
  }

  deinit { unlink(path) }

  func write(_ bytes: [UInt8], at offset: Int) throws {
    let file = try FileDescriptor(opening: path, O_RDWR)
    #expect(pwrite(file.number, bytes, bytes.count, offset) == bytes.count)
  }
}

@Suite(.enabled(if: canAttach, "needs root and loop devices"))
struct LoopDeviceTests {
  @Test func anExtentBecomesADeviceAndGoes() throws {
    let file = try ScratchFile(byteCount: 8 << 20)
    let loop = try LoopDevice.attach(to: file.path, offset: 1 << 20, size: 2 << 20, readOnly: false)
    #expect(try BlockDevice.facts(loop.path).sizeBytes == 2 << 20)
    #expect(try BlockDevice.facts(loop.path).isReadOnly == false)
    #expect(try LoopDevice.find(backing: file.path, offset: 1 << 20) == loop)
    #expect(try LoopDevice.find(backing: file.path, offset: 0) == nil)
    try loop.detach()
    #expect(try LoopDevice.find(backing: file.path, offset: 1 << 20) == nil)
    try loop.detach()  // again: nothing to do
  }

  @Test func aReadOnlyExtentIsReadOnly() throws {
    let file = try ScratchFile(byteCount: 4 << 20)
    let loop = try LoopDevice.attach(to: file.path, offset: 0, size: 1 << 20, readOnly: true)
    #expect(loop.isReadOnly)
    #expect(try BlockDevice.facts(loop.path).isReadOnly)
    try loop.detach()
  }

  @Test func aDeviceThatIsHeldOpenIsNotSaidToBeGone() throws {
    let file = try ScratchFile(byteCount: 4 << 20)
    let loop = try LoopDevice.attach(to: file.path, offset: 0, size: 1 << 20, readOnly: false)
    do {
      let holder = try FileDescriptor(opening: loop.path, O_RDONLY)
      #expect(throws: SystemCallError.self) { try loop.detach(patienceMilliseconds: 10) }
      _ = holder
    }
    try loop.detach()
  }

  @Test func aLoopDeviceIsKnownByItsBackingFile() throws {
    let file = try ScratchFile(byteCount: 4 << 20)
    let first = try LoopDevice.attach(to: file.path, offset: 0, size: 0, readOnly: false)
    let identity = try #require(BlockDevice.stableIdentity(first.path))
    #expect(identity.hasPrefix("loop-"))
    try first.detach()
    let second = try LoopDevice.attach(to: file.path, offset: 0, size: 0, readOnly: false)
    #expect(BlockDevice.stableIdentity(second.path) == identity)
    try second.detach()
  }
}

@Test func anEmptyDiskHasNoSignature() throws {
  let file = try ScratchFile(byteCount: 4 << 20)
  #expect(try DiskSignature.find(on: file.path) == nil)
}

@Test func aSwapAreaAndAVolumeAreSeen() throws {
  let swap = try ScratchFile(byteCount: 4 << 20)
  try swap.write([1, 0, 0, 0, 255], at: 1024)
  try swap.write(Array("SWAPSPACE2".utf8), at: 4086)
  #expect(try DiskSignature.find(on: swap.path) == "swap")

  let encrypted = try ScratchFile(byteCount: 4 << 20)
  try encrypted.write(Array("LUKS".utf8) + [0xba, 0xbe, 0, 1], at: 0)
  #expect(try DiskSignature.find(on: encrypted.path) == "crypto_LUKS")
}

@Test func aPathThatIsNoDeviceSaysSo() throws {
  #expect(throws: SystemCallError.self) { try BlockDevice.facts("/dev/no-such-disk") }
  #expect(throws: SystemCallError.self) { try BlockDevice.facts("/proc/self/status") }
  #expect(BlockDevice.stableIdentity("/dev/no-such-disk") == nil)
}

/// A directory tree like the part of sysfs that says what disks are called.
@Test func serialNumbersAndPartitionsNameADisk() throws {
  var template = Array("/tmp/iov-sysfs-XXXXXX".utf8CString)
  _ = mkdtemp(&template)
  let root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  try SmallFile.makeDirectory("\(root)/devices/null/null1")
  try SmallFile.makeDirectory("\(root)/class/block")
  try SmallFile.replace("\(root)/devices/null/wwid", with: Array("t10.ATA     Some DISK  SN/42  \n".utf8))
  #expect(symlink("../../devices/null", "\(root)/class/block/null") == 0)
  #expect(BlockDevice.stableIdentity("/dev/null", sysfs: root) == "t10.ata-some-disk-sn42")

  try SmallFile.replace("\(root)/devices/null/null1/partition", with: Array("1\n".utf8))
  #expect(symlink("../../devices/null/null1", "\(root)/class/block/zero") == 0)
  #expect(BlockDevice.stableIdentity("/dev/zero", sysfs: root) == "t10.ata-some-disk-sn42-part1")
  for path in [
    "class/block/null", "class/block/zero", "devices/null/null1/partition", "devices/null/wwid",
  ] { try SmallFile.remove("\(root)/\(path)") }
  for path in ["class/block", "class", "devices/null/null1", "devices/null", "devices", ""] { rmdir("\(root)/\(path)") }
}
