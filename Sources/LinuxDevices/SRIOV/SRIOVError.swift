import Glibc

/// Why a card has not got the count of virtual functions that was asked for.
public enum SRIOVError: Error, Hashable, CustomStringConvertible {
  /// It cannot make any, or it is not there.
  case notOffered(PCIAddress)
  case tooMany(PCIAddress, asked: UInt32, total: UInt32)
  case held(PCIAddress, from: UInt32, to: UInt32, by: [Holder])
  /// The kernel refused a count, for the reason given; what the card has now is said in `state`.
  case refused(PCIAddress, count: UInt32, Reason, state: State)
  /// The driver made fewer, and the caller wanted all or none.
  case fewer(PCIAddress, asked: UInt32, got: UInt32, state: State)

  public struct Holder: Sendable, Hashable {
    public var function: PCIAddress
    public var name: String

    public init(function: PCIAddress, name: String) {
      self.function = function
      self.name = name
    }
  }

  public enum Reason: Sendable, Hashable {
    /// EBUSY: somebody else changed the count meanwhile, or the driver holds the functions (a guest uses one).
    case busy
    /// ERANGE: the driver has lowered the total.
    case aboveTotal
    /// ENOENT: no driver is bound, or it cannot make functions this way.
    case driverCannot(driver: String?)
    /// ENODEV or a file that is gone: unplugged.
    case vanished
    /// EACCES, EPERM or EROFS when the attribute was opened.
    case notPermitted(CInt)
    /// EPERM from the driver: igb and ixgbe answer so while a guest uses a function.
    case forbiddenByDriver(driver: String?)
    /// EOPNOTSUPP or ENOSYS: the driver can in principle and will not in the mode it is in.
    case notInThisMode(CInt)
    /// ENOMEM, ENOSPC or EIO: no room in the address windows or bus numbers of the machine's firmware.
    case noResources(CInt)
    /// EINVAL: the driver does not take this count, or not with what else the card does now.
    case invalid
    case other(CInt)
  }

  /// What a failure left behind.
  public enum State: Sendable, Hashable {
    /// Nothing was changed.
    case unchanged(UInt32)
    /// The former count again: new functions, with none of the settings that the former ones had.
    case rolledBack(UInt32)
    /// The former count could not be had again: for the reason, or because the driver made another number of them.
    case left(UInt32, former: UInt32, rollBack: Reason?)
    case unknown
  }

  public var description: String {
    switch self {
    case .notOffered(let card):
      "\(card) offers no virtual functions: there is no sriov_totalvfs. Is it a physical function, and is SR-IOV enabled "
        + "in the machine's firmware and in the card's?"
    case .tooMany(let card, let asked, let total):
      "\(asked) virtual functions were asked of \(card), which can make \(total)"
    case .held(let card, let from, let to, let holders):
      "to go from \(from) virtual functions of \(card) to \(to), all of them are destroyed, and some are held: "
        + holders.map { "\($0.function) by \($0.name)" }.joined(separator: ", ") + ". Release these first"
    case .refused(let card, let count, let reason, let state):
      "\(card) was asked for \(count) virtual functions: \(reason). \(state)"
    case .fewer(let card, let asked, let got, let state):
      "\(card) was asked for \(asked) virtual functions and its driver made \(got). \(state)"
    }
  }
}

extension SRIOVError.Reason: CustomStringConvertible {
  public var description: String {
    switch self {
    case .busy: "it is busy; another program changes the count, or a virtual machine uses one of its functions"
    case .aboveTotal: "this is above what its driver makes now; read sriov_totalvfs again"
    case .driverCannot(let driver?): "its driver \(driver) does not make virtual functions on request"
    case .driverCannot(nil): "no driver is bound to it; bind one first"
    case .vanished: "it is gone"
    case .notPermitted(let code):
      "this process may not (\(SystemCallError.reason(code))); it takes root and a writable /sys"
    case .forbiddenByDriver(let driver):
      "its driver \(driver ?? "") does not allow it now, as a rule because a virtual machine uses one of its functions"
    case .notInThisMode(let code):
      "its driver will not in its present mode (\(SystemCallError.reason(code))); look at the kernel's log, and for a switchdev "
        + "mode with `devlink dev eswitch show`"
    case .noResources(let code):
      "the machine has no room for them (\(SystemCallError.reason(code))); ask for fewer, or enable SR-IOV and large address "
        + "windows in its firmware"
    case .invalid:
      "its driver does not take this count, or not with what else the card does now (flow director, switchdev, an "
        + "uninitialized port); look at the kernel's log"
    case .other(let code): "\(SystemCallError.reason(code)) (errno \(code)); look at the kernel's log"
    }
  }
}

extension SRIOVError.State: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unchanged(let count): "It has \(count), as before"
    case .rolledBack(let count): "It has its former \(count) again, with fresh settings"
    case .left(let count, let former, let reason?):
      "It is left with \(count): its former \(former) were refused as well: \(reason)"
    case .left(let count, let former, nil): "It is left with \(count) of its former \(former): its driver made no more"
    case .unknown: "How many it has cannot be read"
    }
  }
}

extension SRIOVError.Reason {
  /// - Parameter driver: the one that is bound, for what ENOENT means.
  init(_ error: SysfsError, driver: String?) {
    self =
      switch (error.step, error.errno) {
      case _ where error.isAbsence: .vanished
      case (.open, EPERM), (.open, EACCES), (.open, EROFS): .notPermitted(error.errno)
      case (.write, EBUSY): .busy
      case (.write, ERANGE): .aboveTotal
      case (.write, ENOENT): .driverCannot(driver: driver)
      case (.write, EPERM): .forbiddenByDriver(driver: driver)
      case (.write, EOPNOTSUPP), (.write, ENOSYS): .notInThisMode(error.errno)
      case (.write, ENOMEM), (.write, ENOSPC), (.write, EIO): .noResources(error.errno)
      case (.write, EINVAL): .invalid
      default: .other(error.errno)
      }
  }
}
