import CLinux
import Glibc

/// Says on a network from where an Ethernet address speaks now, so that its switches send there what is for it. Until they hear
/// something from there they would send it to where it was.
public struct AddressAnnouncement: Sendable {
  private let namespace: NetworkNamespace

  public init(in namespace: NetworkNamespace) { self.namespace = namespace }

  /// Sends one frame from an interface of the namespace, to everybody: a question by RARP (RFC 903) that nobody has to answer, as
  /// virtual machines send that have moved. The interface must be up.
  public func send(_ address: MACAddress, from interface: Int32) throws {
    let frame = Self.frame(address)
    try namespace.run {
      let descriptor = socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { throw NetlinkError(errno: errno, operation: "open a packet socket") }
      defer { close(descriptor) }
      var target = sockaddr_ll()
      target.sll_family = UInt16(AF_PACKET)
      target.sll_ifindex = interface
      let sent = withUnsafeBytes(of: &target) { target in
        sendto(
          descriptor, frame, frame.count, 0, target.baseAddress?.assumingMemoryBound(to: sockaddr.self),
          socklen_t(target.count))
      }
      guard sent == frame.count else { throw NetlinkError(errno: errno, operation: "announce \(address)") }
    }
  }

  static func frame(_ address: MACAddress) -> [UInt8] {
    let mac = address.octets
    let nobody: [UInt8] = [0, 0, 0, 0]
    // To everybody, RARP; Ethernet and IPv4, a question for one's own address.
    let question = [0, 1, 8, 0, 6, 4, 0, 3] + mac + nobody + mac + nobody
    let frame = [UInt8](repeating: 0xff, count: 6) + mac + [0x80, 0x35] + question
    // The shortest frame that there is, less its checksum.
    return frame + [UInt8](repeating: 0, count: 60 - frame.count)
  }
}
