import Glibc

extension PluginConfiguration {
  /// What keeps the executable from being started, and what to do; nil if nothing does.
  func problemWithExecutable() -> String? {
    var status = stat()
    guard stat(executable, &status) == 0 else {
      return "the executable \(executable) of plugin '\(name)' cannot be found: \(reason(errno)); correct `executable`"
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      return "\(executable), configured as executable of plugin '\(name)', is no file; correct `executable`"
    }
    guard access(executable, X_OK) == 0 else {
      return "\(executable) of plugin '\(name)' is not executable (mode \(String(status.st_mode & 0o7777, radix: 8))): "
        + "chmod +x it, or correct `executable`"
    }
    return nil
  }

  func problemWithConfiguration() -> String? {
    guard access(configuration, R_OK) == 0 else {
      return "the configuration \(configuration) of plugin '\(name)' cannot be read: \(reason(errno)); "
        + "correct `configuration`"
    }
    return nil
  }

  private func reason(_ code: CInt) -> String { String(cString: strerror(code)) }
}
