import Glibc

/// How many descriptors this process may have open at a time, and those that it starts.
///
/// Most systems begin with 1,024, which is meant for programs that use select(2), and allow far more to whoever asks
/// (https://0pointer.net/blog/file-descriptor-limits.html). Nothing here uses select.
public enum OpenFileLimit {
  /// Raises the limit to `count` if it is lower; nil: to what the system allows without further rights.
  public static func raise(to count: UInt64? = nil) throws(SystemCallError) {
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    try checkedErrno(getrlimit(files, &limit), "read the limit of open files")
    let allowed = limit.rlim_max
    let wanted = rlim_t(count ?? UInt64(allowed))
    guard limit.rlim_cur < wanted else { return }
    limit.rlim_cur = wanted
    limit.rlim_max = max(allowed, wanted)
    try checkedErrno(
      setrlimit(files, &limit), "raise the limit of open files to \(wanted), where \(allowed) are allowed")
  }
}
