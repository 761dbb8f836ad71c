import BlockFunctions
import FunctionPluginKit
import Glibc
import LinuxDevices

/// Takes a disk from whoever has it open on this host: the kernel forgets its paths, so that what is open leads nowhere any
/// more, and finds them again as new ones.
struct DiskPull {
  let access: DiskAccess
  let disk: DiskPaths

  private var paths: [SCSIUnitPath] { disk.paths + disk.lost }

  /// All of them before the first comes back: there is no moment at which an old one works beside a new one.
  func remove() throws {
    for path in paths {
      do throws(SysfsError) {
        try access.sysfs.write("1", to: "bus/scsi/devices/\(path.address)/delete")
      } catch {
        guard !error.isAbsence else { continue }
        // What is removed already must not stay away.
        scan()
        throw PluginError(
          .unavailable,
          "\(disk.name) could not be taken from whoever has it open, by its path \(path.address): \(error)")
      }
    }
  }

  /// Has adapters look for the disk until it is found.
  func bringBack(_ found: () throws -> DiskDescription?) throws -> DiskDescription {
    let end = ContinuousClock.now + access.patience
    while true {
      scan()
      // Its driver takes a disk after it was found, and udev names it after that.
      for _ in 0..<20 {
        if let disk = try? found() { return disk }
        guard ContinuousClock.now < end else {
          throw PluginError(
            .unavailable,
            "\(disk.name) was taken from whoever had it open and has not come back after \(access.patience): have its "
              + "adapter look for it (echo '- - -' > /sys/class/scsi_host/host\(paths.first?.controller.number ?? 0)/scan)."
          )
        }
        usleep(50_000)
      }
    }
  }

  /// Only where the disk was: to look for everything takes a large fabric minutes. That an adapter cannot look shows by
  /// the disk that stays away.
  private func scan() {
    for path in paths {
      let place = path.address.split(separator: ":").dropFirst().joined(separator: " ")
      try? access.sysfs.write(place, to: "class/scsi_host/host\(path.controller.number)/scan")
    }
  }
}
