import Glibc

extension ProcessIdentity {
  /// The processes of a program that have exactly this argument, such as a file that belongs to one of them alone.
  ///
  /// So a daemon is found again even when whoever started it died before writing down its number.
  public static func running(program: String, withArgument argument: String) -> [ProcessIdentity] {
    SmallFile.names(in: "/proc").compactMap { pid_t($0) }.compactMap { pid in
      // The identity first: if the number changes hands afterwards, the identity is that of a process that has ended.
      guard let identity = ProcessIdentity(of: pid), let line = try? SmallFile.read("/proc/\(pid)/cmdline") else {
        return nil
      }
      let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      guard words.first?.split(separator: "/").last.map(String.init) == program else { return nil }
      return words.contains(argument) ? identity : nil
    }
  }
}
