import Glibc

extension Sysfs {
  /// A process that has the function open through VFIO; nil: nobody.
  public func vfioUser(of address: PCIAddress) -> pid_t? {
    guard let device = try? vfioDevice(of: address) else { return nil }
    let processes = Sysfs(root: "/proc")
    let paths = Set([device.groupPath, device.devicePath].compactMap { $0 })
    return SmallFile.names(in: "/proc").lazy.compactMap { pid_t($0) }.first { process in
      SmallFile.names(in: "/proc/\(process)/fd").contains { name in
        processes.resolved("\(process)/fd/\(name)").map(paths.contains) ?? false
      }
    }
  }
}
