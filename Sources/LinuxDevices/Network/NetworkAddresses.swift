import Glibc

/// A 48-bit Ethernet address.
public struct MACAddress: Sendable, Hashable, CustomStringConvertible {
  public let octets: [UInt8]

  /// Nil unless there are six octets.
  public init?(octets: some Collection<UInt8>) {
    guard octets.count == 6 else { return nil }
    self.octets = Array(octets)
  }

  /// "02:00:00:00:00:01", either case; nil when it is something else.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var octets: [UInt8] = []
    for part in parts {
      guard part.utf8.count == 2, part.utf8.first != UInt8(ascii: "+"), let octet = UInt8(part, radix: 16) else {
        return nil
      }
      octets.append(octet)
    }
    self.octets = octets
  }

  /// What a virtual function has to which its card gives none.
  public static let zero = MACAddress(zero: ())

  private init(zero: Void) { octets = [0, 0, 0, 0, 0, 0] }

  public var isMulticast: Bool { octets[0] & 1 != 0 }
  public var isZero: Bool { octets.allSatisfy { $0 == 0 } }

  public var description: String {
    octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}

/// An IPv4 or IPv6 address.
public struct IPAddress: Sendable, Hashable, CustomStringConvertible {
  /// 4 or 16 octets.
  public let octets: [UInt8]

  public init?(octets: some Collection<UInt8>) {
    guard octets.count == 4 || octets.count == 16 else { return nil }
    self.octets = Array(octets)
  }

  /// "192.0.2.1" or "2001:db8::1"; nil when it is something else.
  public init?(_ text: String) {
    var octets = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET, text, &octets) == 1 {
      self.octets = Array(octets.prefix(4))
    } else if inet_pton(AF_INET6, text, &octets) == 1 {
      self.octets = octets
    } else {
      return nil
    }
  }

  public var isIPv4: Bool { octets.count == 4 }

  public var description: String {
    var buffer = [CChar](repeating: 0, count: 64)
    inet_ntop(isIPv4 ? AF_INET : AF_INET6, octets, &buffer, socklen_t(buffer.count))
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
