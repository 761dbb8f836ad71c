import Glibc

/// What the kernel answered to a netlink request that it refused.
public struct NetlinkError: Error, Hashable, CustomStringConvertible {
  public var errno: CInt
  /// The kernel's own explanation (extended acknowledgement), where it gave one.
  public var kernelMessage: String?
  /// What was asked, for people: "create macvlan iov0123456789".
  public var operation: String

  public init(errno: CInt, kernelMessage: String? = nil, operation: String) {
    self.errno = errno
    self.kernelMessage = kernelMessage
    self.operation = operation
  }

  public var description: String {
    let reason = String(cString: strerror(errno))
    guard let kernelMessage, !kernelMessage.isEmpty else { return "\(operation): \(reason) (errno \(errno))" }
    return "\(operation): \(kernelMessage) (\(reason), errno \(errno))"
  }

  /// The object that the request names is not there.
  public var isAbsence: Bool { errno == ENODEV || errno == ENOENT || errno == ENXIO }

  /// Whoever was asked does not do such a thing, whatever the value.
  public var isUnsupported: Bool { errno == EOPNOTSUPP || errno == ENOSYS }
}
