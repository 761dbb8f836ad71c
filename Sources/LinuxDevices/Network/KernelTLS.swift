import CLinux
import Glibc

/// TLS in the kernel (Documentation/networking/tls.rst): a library makes the handshake, the kernel gets the keys, and from then on
/// whoever reads and writes the socket, the kernel itself among them, has the secured bytes in plain.
public enum KernelTLS {
  /// Whether this kernel has it; its module is loaded by being asked for.
  public static var isPossible: Bool {
    let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { return false }
    let socket = FileDescriptor(owning: number)
    // It takes no socket that is not connected.
    return iov_kernel_tls_begin(socket.number) == -ENOTCONN
  }

  /// Gives it a connection whose handshake is over, with the keys of both directions.
  public static func begin(on socket: CInt, receiving: Keys, sending: Keys) throws(SystemCallError) {
    try checked(iov_kernel_tls_begin(socket), "hand a connection to the kernel's TLS")
    for (keys, receives) in [(sending, false), (receiving, true)] {
      let bytes = keys.bytes
      try checked(
        iov_kernel_tls_set_keys(socket, receives ? 1 : 0, bytes, UInt32(bytes.count)),
        "give the kernel's TLS the keys of \(keys.cipher)")
    }
  }

  public enum Cipher: Sendable, Hashable, CaseIterable {
    case aes128GCM, aes256GCM

    fileprivate var number: UInt16 {
      switch self {
      case .aes128GCM: UInt16(TLS_CIPHER_AES_GCM_128)
      case .aes256GCM: UInt16(TLS_CIPHER_AES_GCM_256)
      }
    }
  }

  /// One direction of a session of TLS 1.2, as the handshake leaves it.
  public struct Keys: Sendable, Hashable {
    private static let version: UInt16 = 0x0303
    public var cipher: Cipher
    public var key: [UInt8]
    /// The four bytes of the nonce that no record carries.
    public var salt: [UInt8]
    /// Of the next record, eight bytes.
    public var sequence: [UInt8]

    public init(cipher: Cipher, key: [UInt8], salt: [UInt8], sequence: [UInt8]) {
      self.cipher = cipher
      self.key = key
      self.salt = salt
      self.sequence = sequence
    }

    /// As the structures of linux/tls.h lie in memory: version, cipher, the rest of the nonce, key, salt, sequence.
    var bytes: [UInt8] {
      let header =
        withUnsafeBytes(of: Self.version) { Array($0) } + withUnsafeBytes(of: cipher.number) { Array($0) }
      // Each record carries the rest of its nonce, for which any number does that comes once.
      return header + sequence + key + salt + sequence
    }
  }
}
