import Glibc
import LinuxDevices

/// A UDP socket in a network namespace, for real packets through what the plugin sets up.
final class Datagrams: Sendable {
  private let descriptor: CInt
  static let port: UInt16 = 7000  // in namespaces of the test's own

  /// Bound to an interface: what it sends leaves there, what it receives came from there.
  init(in namespace: TestNamespace, on interface: String) throws {
    descriptor = try namespace.namespace.run {
      let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      var one: CInt = 1
      setsockopt(descriptor, SOL_SOCKET, SO_BROADCAST, &one, 4)
      let name = Array(interface.utf8)
      guard setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, name, socklen_t(name.count)) == 0 else {
        throw NetlinkError(errno: errno, operation: "bind to \(interface)")
      }
      var address = Self.address("0.0.0.0")
      let code = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, 16) }
      }
      guard code == 0 else { throw NetlinkError(errno: errno, operation: "bind") }
      return descriptor
    }
  }

  deinit { close(descriptor) }

  @discardableResult
  func send(_ text: String, to address: String) -> Bool {
    var target = Self.address(address)
    return withUnsafePointer(to: &target) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, text, text.utf8.count, 0, $0, 16) == text.utf8.count
      }
    }
  }

  /// What arrives within the time; nil: nothing. The wait is on a thread of its own.
  func receive(withinMilliseconds milliseconds: Int32 = 5000) async throws -> String? {
    let descriptor = descriptor
    return try await BlockingThread.detached {
      var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&wait, 1, milliseconds) == 1 else { return nil }
      var buffer = [UInt8](repeating: 0, count: 9000)
      let size = recv(descriptor, &buffer, buffer.count, 0)
      return size < 0 ? nil : String(decoding: buffer[..<size], as: UTF8.self)
    }
  }

  private static func address(_ text: String) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    inet_pton(AF_INET, text, &address.sin_addr)
    return address
  }
}
