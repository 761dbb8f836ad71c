import CLinux
import Glibc

/// A block device of the kernel's NBD client, "/dev/nbd3".
public struct NetworkBlockDevice: Sendable, Hashable {
  public let index: UInt32

  public init(index: UInt32) { self.index = index }

  public var path: String { "/dev/nbd\(index)" }

  private static func node(_ index: UInt32, _ sysfs: String) -> String { "\(sysfs)/block/nbd\(index)" }

  /// The devices that were connected under this name, and are, or are still held open by somebody.
  public static func all(backend: String, sysfs: String = "/sys") -> [NetworkBlockDevice] {
    SmallFile.names(in: "\(sysfs)/block").compactMap { name in
      guard name.hasPrefix("nbd"), let index = UInt32(name.dropFirst(3)),
        SmallFile.text("\(node(index, sysfs))/backend") == backend
      else { return nil }
      return NetworkBlockDevice(index: index)
    }
  }

  /// Who connected it; nil: it is free, or the kernel does not keep that (before Linux 5.14).
  public func backend(sysfs: String = "/sys") -> String? { SmallFile.text("\(Self.node(index, sysfs))/backend") }

  /// Its size and whether it can be written, without opening it: whoever opens one that has just lost its server may wait, and
  /// keeps the kernel from giving it to anybody else.
  public func measures(sysfs: String = "/sys") -> (sizeBytes: UInt64, isReadOnly: Bool)? {
    let node = Self.node(index, sysfs)
    guard let sectors = SmallFile.text("\(node)/size").flatMap({ UInt64($0) }), let ro = SmallFile.text("\(node)/ro")
    else {
      return nil
    }
    return (sectors * 512, ro != "0")
  }
}

/// The kernel's NBD client (drivers/block/nbd.c), by its generic netlink interface.
public struct NetworkBlockDriver: Sendable {
  /// With which a program that should connect a device ends where the kernel cannot do it (EX_UNAVAILABLE of sysexits.h).
  public static let lackingExitCode: CInt = 69
  /// The file in which such a program writes down its device.
  public static let record = "nbd"
  private static let module = "nbd"
  private let family: GenericNetlink

  /// Nil: this kernel has none, nor a module that can be loaded.
  ///
  /// Loaded here, the module has no devices but those that are used, and looks for no partitions on them, as loop devices do not.
  /// One that is there already stays as it is.
  public static func find() throws -> NetworkBlockDriver? {
    if access("/sys/module/\(module)", F_OK) != 0 {
      do {
        try KernelModule.load(module, parameters: ["nbds_max=0", "max_part=0"])
      } catch {
        return nil
      }
    }
    return try NetworkBlockDriver(through: NetlinkSocket(.generic, in: .current()))
  }

  init?(through netlink: any NetlinkTransport) throws(NetlinkError) {
    guard let family = try GenericNetlink(NBD_GENL_FAMILY_NAME, through: netlink) else { return nil }
    self.family = family
  }

  /// What a device is made of: a connection whose negotiation is over, and what the server said of the export.
  public struct Connection: Sendable, Hashable {
    public var socket: CInt
    public var sizeBytes: UInt64
    public var blockSizeBytes: UInt64
    /// NBD's transmission flags: read-only, flush, trim, …
    public var flags: UInt64
    /// By which it is found again.
    public var backend: String

    public init(socket: CInt, sizeBytes: UInt64, blockSizeBytes: UInt64, flags: UInt64, backend: String) {
      self.socket = socket
      self.sizeBytes = sizeBytes
      self.blockSizeBytes = blockSizeBytes
      self.flags = flags
      self.backend = backend
    }
  }

  /// Gives a connection to a device that nobody uses, of the kernel's choice. From then on the socket is the kernel's.
  ///
  /// A request waits as long as its server takes, like one to any disk, and limits may make it take long. When the server is gone,
  /// it fails: nothing is kept for another connection.
  public func connect(_ connection: Connection) throws(NetlinkError) -> NetworkBlockDevice {
    let operation = "give a connection to the kernel's nbd"
    let replies = try family.request(NBD_CMD_CONNECT, operation: operation) {
      $0.attribute(NBD_ATTR_SIZE_BYTES, connection.sizeBytes)
      $0.attribute(NBD_ATTR_BLOCK_SIZE_BYTES, connection.blockSizeBytes)
      $0.attribute(NBD_ATTR_SERVER_FLAGS, connection.flags)
      $0.attribute(NBD_ATTR_TIMEOUT, UInt64(0))
      $0.attribute(NBD_ATTR_DEAD_CONN_TIMEOUT, UInt64(0))
      $0.attribute(NBD_ATTR_BACKEND_IDENTIFIER, connection.backend)
      $0.nested(NBD_ATTR_SOCKETS) {
        $0.nested(NBD_SOCK_ITEM) {
          $0.attribute(NBD_SOCK_FD, UInt32(bitPattern: connection.socket))
        }
      }
    }
    let index = replies.lazy.compactMap { $0.integer(NBD_ATTR_INDEX, as: UInt32.self) }.first
    guard let index else { throw NetlinkError(errno: EBADMSG, operation: operation) }
    return NetworkBlockDevice(index: index)
  }

  /// Takes the connection away: what is under way and what comes later fails. Somebody who has the device open keeps it, with
  /// nothing behind it, and the kernel gives it to nobody else until they let go. One that is not connected is left as it is.
  public func disconnect(_ device: NetworkBlockDevice) throws(NetlinkError) {
    _ = try family.request(NBD_CMD_DISCONNECT, operation: "disconnect \(device.path)") {
      $0.attribute(NBD_ATTR_INDEX, device.index)
    }
  }
}
