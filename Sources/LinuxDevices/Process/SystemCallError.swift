import Glibc

/// A system call that failed: what was tried, on what, and the kernel's reason.
public struct SystemCallError: Error, Hashable, CustomStringConvertible {
  public var operation: String
  public var errno: CInt

  public init(_ operation: String, errno: CInt) {
    self.operation = operation
    self.errno = errno
  }

  /// "open /dev/sdb: Device or resource busy (errno 16)"
  public var description: String { "\(operation): \(Self.reason(errno)) (errno \(errno))" }

  /// The kernel's text for an error number.
  public static func reason(_ errno: CInt) -> String {
    // Swift sees the POSIX form of `strerror_r`, which always fills the buffer.
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
      guard let base = buffer.baseAddress, strerror_r(errno, base, buffer.count) == 0 else { return "unknown" }
      return String(cString: base)
    }
  }
}

/// Passes on a result that is not negative; a negative one is a negated errno, as CLinux answers it.
@discardableResult
func checked(_ result: CInt, _ operation: @autoclosure () -> String) throws(SystemCallError) -> CInt {
  guard result >= 0 else { throw SystemCallError(operation(), errno: -result) }
  return result
}

/// Passes on a result that is not negative; otherwise the reason stands in `errno`, as Glibc has it.
@discardableResult
func checkedErrno<Result: SignedInteger>(
  _ result: Result, _ operation: @autoclosure () -> String
) throws(SystemCallError) -> Result {
  guard result >= 0 else { throw SystemCallError(operation(), errno: Glibc.errno) }
  return result
}
