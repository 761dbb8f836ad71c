import CLinux
import Glibc

/// What the driver of an interface says of itself and of the card.
public struct DriverDetails: Sendable, Hashable {
  public var driver: String
  /// Free text of the driver's: "3.30, 0x8000087d", "16.35.2000 (MT_0000000012)". Nil: it gives none.
  public var firmwareVersion: String?
  /// A PCI address, as a rule; nil for what is on no bus.
  public var busAddress: String?
  /// The address that the card was made with, for kernels before 5.6, whose rtnetlink does not tell.
  public var permanentMACAddress: MACAddress?
}

/// What rtnetlink does not tell and ethtool does. Nil: there is no such interface, or its driver does not say.
extension RouteNetlink {
  /// Bits per second in each direction.
  public func speedBitsPerSecond(of name: String) throws -> UInt64? {
    let megabits = try withDatagramSocket { iov_interface_speed_megabits($0, name) }
    return megabits == 0 ? nil : UInt64(megabits) * 1_000_000
  }

  public func driver(of name: String) throws -> String? { try driverDetails(of: [name])[name]?.driver }

  /// By name, of those that are there and say something: one thread enters the namespace for all of them.
  public func driverDetails(of names: [String]) throws -> [String: DriverDetails] {
    try withDatagramSocket { descriptor in
      var details: [String: DriverDetails] = [:]
      for name in names { details[name] = DriverDetails(of: name, through: descriptor) }
      return details
    }
  }

  private func withDatagramSocket<Result: Sendable>(
    _ body: @escaping @Sendable (CInt) -> Result
  ) throws -> Result {
    try namespace.run {
      let descriptor = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { throw NetlinkError(errno: errno, operation: "open a socket") }
      defer { close(descriptor) }
      return body(descriptor)
    }
  }
}

extension DriverDetails {
  fileprivate init?(of name: String, through socket: CInt) {
    var raw = iov_driver_details()
    guard iov_read_driver_details(socket, name, &raw) == 0 else { return nil }
    driver = Self.text(raw.driver) ?? ""
    firmwareVersion = Self.text(raw.firmware_version)
    busAddress = Self.text(raw.bus_address)
    var address = [UInt8](repeating: 0, count: 6)
    permanentMACAddress =
      iov_read_permanent_address(socket, name, &address) == 0
      ? MACAddress(octets: address).flatMap { $0.isZero ? nil : $0 } : nil
  }

  /// Drivers that have nothing to say leave it empty or write "N/A".
  private static func text<Field>(_ field: Field) -> String? {
    let text = withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return text.isEmpty || text == "N/A" ? nil : text
  }
}
