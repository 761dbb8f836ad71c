import CLinux
import Glibc
import Synchronization
import Testing

@testable import LinuxDevices

/// The kernel's nbd, which gives everybody the same device and keeps what it was told.
private final class FakeDriver: NetlinkTransport {
  static let family: UInt16 = 0x21
  let told = Mutex<[NetlinkRequest]>([])
  let hasFamily: Bool

  init(hasFamily: Bool = true) { self.hasFamily = hasFamily }

  func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] { [] }

  func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    var payload = NetlinkPayload()
    payload.append(genlmsghdr(cmd: 0, version: 1, reserved: 0))
    if request.type == UInt16(GENL_ID_CTRL) {
      guard hasFamily else { throw NetlinkError(errno: ENOENT, operation: request.operation) }
      payload.attribute(Int(CTRL_ATTR_FAMILY_ID), Self.family)
    } else {
      told.withLock { $0.append(request) }
      if Int(request.payload.bytes[0]) == NBD_CMD_CONNECT { payload.attribute(NBD_ATTR_INDEX, UInt32(3)) }
    }
    return [NetlinkReply(type: Self.family, payload: payload.bytes[...])]
  }
}

struct NetworkBlockDeviceTests {
  @Test func aConnectionIsGivenToADeviceOfTheKernelsChoice() throws {
    let fake = FakeDriver()
    let driver = try #require(try NetworkBlockDriver(through: fake))
    let device = try driver.connect(
      .init(socket: 7, sizeBytes: 1 << 30, blockSizeBytes: 4096, flags: 0x16d, backend: "iov-1"))
    #expect(device == NetworkBlockDevice(index: 3))
    let request = try #require(fake.told.withLock { $0.first })
    let attributes = NetlinkAttributes(request.payload.bytes.dropFirst(4))
    // An index would name one that somebody else may have.
    #expect(attributes[NBD_ATTR_INDEX] == nil)
    #expect(attributes.integer(NBD_ATTR_SIZE_BYTES, as: UInt64.self) == 1 << 30)
    #expect(attributes.integer(NBD_ATTR_BLOCK_SIZE_BYTES, as: UInt64.self) == 4096)
    #expect(attributes.integer(NBD_ATTR_SERVER_FLAGS, as: UInt64.self) == 0x16d)
    #expect(attributes.integer(NBD_ATTR_DEAD_CONN_TIMEOUT, as: UInt64.self) == 0)
    #expect(attributes.string(NBD_ATTR_BACKEND_IDENTIFIER) == "iov-1")
    let item = attributes.nested(NBD_ATTR_SOCKETS)?.nested(NBD_SOCK_ITEM)
    #expect(item?.integer(NBD_SOCK_FD, as: UInt32.self) == 7)
  }

  @Test func theDeviceThatIsMeantIsDisconnected() throws {
    let fake = FakeDriver()
    try #require(try NetworkBlockDriver(through: fake)).disconnect(NetworkBlockDevice(index: 5))
    let request = try #require(fake.told.withLock { $0.first })
    #expect(request.payload.bytes[0] == UInt8(NBD_CMD_DISCONNECT))
    #expect(NetlinkAttributes(request.payload.bytes.dropFirst(4)).integer(NBD_ATTR_INDEX, as: UInt32.self) == 5)
  }

  @Test func aKernelWithoutItIsToldFromOneThatRefuses() throws {
    #expect(try NetworkBlockDriver(through: FakeDriver(hasFamily: false)) == nil)
  }

  @Test func aDeviceIsFoundByTheNameOfItsConnection() throws {
    let sysfs = "/tmp/iov-nbd-\(UInt64.random(in: .min ... .max))"
    defer {
      for name in ["nbd0", "nbd1", "nbd12"] {
        for file in ["backend", "size", "ro"] { unlink("\(sysfs)/block/\(name)/\(file)") }
        rmdir("\(sysfs)/block/\(name)")
      }
      for name in ["/block", ""] { rmdir(sysfs + name) }
    }
    for (name, backend) in [("nbd0", "iov-1"), ("nbd1", nil), ("nbd12", "iov-12")] {
      try SmallFile.makeDirectory("\(sysfs)/block/\(name)")
      for (file, text) in [("backend", backend), ("size", "2048"), ("ro", name == "nbd12" ? "1" : "0")] {
        if let text { try SmallFile.replace("\(sysfs)/block/\(name)/\(file)", with: Array("\(text)\n".utf8)) }
      }
    }
    #expect(NetworkBlockDevice.all(backend: "iov-12", sysfs: sysfs).map(\.path) == ["/dev/nbd12"])
    #expect(NetworkBlockDevice.all(backend: "iov-2", sysfs: sysfs) == [])
    let measures = try #require(NetworkBlockDevice(index: 12).measures(sysfs: sysfs))
    #expect(measures.sizeBytes == 1 << 20 && measures.isReadOnly)
    #expect(NetworkBlockDevice(index: 1).backend(sysfs: sysfs) == nil)
  }

  /// The structures of linux/tls.h, byte for byte.
  @Test(arguments: KernelTLS.Cipher.allCases) func keysLieAsTheKernelWantsThem(_ cipher: KernelTLS.Cipher) {
    let key = (1...(cipher == .aes128GCM ? 16 : 32)).map { UInt8($0) }
    let keys = KernelTLS.Keys(
      cipher: cipher, key: key, salt: [0xa, 0xb, 0xc, 0xd], sequence: [0, 0, 0, 0, 0, 0, 0, 1])
    #expect(keys.bytes.prefix(4) == [3, 3, cipher == .aes128GCM ? 51 : 52, 0])
    let rest: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1] + key + [0xa, 0xb, 0xc, 0xd, 0, 0, 0, 0, 0, 0, 0, 1]
    #expect(Array(keys.bytes.dropFirst(4)) == rest)
    let size =
      cipher == .aes128GCM
      ? MemoryLayout<tls12_crypto_info_aes_gcm_128>.size : MemoryLayout<tls12_crypto_info_aes_gcm_256>.size
    #expect(keys.bytes.count == size)
  }
}
