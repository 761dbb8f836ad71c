import CLinux
import Glibc

extension ProcessIdentity {
  /// The processes of a program that have exactly this argument, such as a file that belongs to one of them alone.
  ///
  /// So a daemon is found again even when whoever started it died before writing down its number.
  public static func running(program: String, withArgument argument: String) -> [ProcessIdentity] {
    SmallFile.names(in: "/proc").compactMap { name in
      // In C, because a machine has hundreds of processes and a verb waits.
      guard let pid = pid_t(name), iov_process_has_argument(pid, program, argument) == 1,
        let identity = ProcessIdentity(of: pid)
      else { return nil }
      // Once more: the number may have changed hands between the first look and the identity.
      return iov_process_has_argument(pid, program, argument) == 1 ? identity : nil
    }
  }
}
