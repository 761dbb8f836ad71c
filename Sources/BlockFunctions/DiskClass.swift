import FunctionPluginKit
import LinuxDevices
import Services

/// What is particular to a class of disks: which devices are of it, and how a whole one is kept for its holder. The
/// rest, extents with their map, serving, connecting, scrubbing, is `BlockPlugin`'s and the same for all.
public protocol DiskClass: Sendable {
  /// The plugin's name and its device class: "sata". An end node's id begins with it.
  static var name: String { get }
  /// Functions of one end node at a time, where its configuration says nothing; with its reason beside it.
  static var defaultFunctionLimit: UInt32 { get }
  /// Hosts that use them at a time; likewise.
  static var defaultHostLimit: UInt32 { get }

  init(context: PluginContext) throws

  /// The disk behind a device's path; nil if there is none now, it is not of this class, or nothing names it for good.
  /// Asked every few seconds: what takes a command to the device is remembered.
  func describe(_ path: String) throws -> DiskDescription?
  /// What is remembered of disks is forgotten: an operator asks for a new look.
  func rescan()

  /// Whether whole disks of the class are given away as they are, without anything of ours between: the class can take
  /// one from its user by `pull`.
  static var givesWholeDisks: Bool { get }
  /// Takes a disk from whoever has it open on this host, as if it were pulled and plugged in again. Answers the disk as it
  /// is afterwards: its devices may be others.
  func pull(_ disk: DiskDescription) throws -> DiskDescription
  /// What keeps a whole disk for one of several hosts that can reach it; nil: this host is the only one.
  func keeper(of disk: DiskDescription) throws -> (any DiskKeeper)?

  /// Makes a whole disk reachable by a virtual function of its drive's own and by nothing else, for a consumer that drives it
  /// by itself: the function is bound to VFIO. Done again, it is repaired. Only of a disk that `makesFunctions`.
  ///
  /// - Parameter function: ours, by which the disk is taken back.
  func give(_ disk: DiskDescription, to function: String) throws -> PCIAddress
  /// By which virtual function the disk is reached; nil: it is not, or not as it should be.
  func given(_ disk: DiskDescription, to function: String) throws -> PCIAddress?
  /// Cuts the consumer off. On return the disk is a block device of this host again.
  func takeBack(_ disk: DiskDescription, from function: String) throws

  /// Whether it can be said how many virtual functions a disk's drive has: in the configuration (`virtualFunctions`), and, of
  /// a disk with a `functionMaker`, by an operator.
  static var countsFunctions: Bool { get }
  /// Gives the disk's drive so many of them, if none that it has is in use; nil: it keeps those that it has. Called at the
  /// start, and whenever something may have changed; what keeps the drive from it is shown with the disk.
  func settleFunctions(of disk: DiskDescription, wanted: UInt32?)

  /// Has a disk that `sanitizes` erase all that it holds, by its own means; answers when it has. Begun again where an earlier
  /// run was cut off.
  func sanitize(_ disk: DiskDescription) throws
}

extension DiskClass {
  /// Each is an extent in the disk's table, and a device of the kernel's.
  public static var defaultFunctionLimit: UInt32 { 64 }
  /// A disk has one head or one queue of a few commands: beyond about half a dozen hosts each gets too little to be of use.
  public static var defaultHostLimit: UInt32 { 6 }

  public func rescan() {}

  public static var givesWholeDisks: Bool { false }

  public func pull(_ disk: DiskDescription) throws -> DiskDescription {
    throw PluginError(.unimplemented, "\(Self.name) disks are not given away whole.")
  }

  public func keeper(of disk: DiskDescription) throws -> (any DiskKeeper)? { nil }

  public func give(_ disk: DiskDescription, to function: String) throws -> PCIAddress {
    throw PluginError(.unimplemented, "\(Self.name) disks make no functions of their own.")
  }

  public func given(_ disk: DiskDescription, to function: String) throws -> PCIAddress? { nil }

  public func takeBack(_ disk: DiskDescription, from function: String) throws {}

  public static var countsFunctions: Bool { false }

  public func settleFunctions(of disk: DiskDescription, wanted: UInt32?) {}

  public func sanitize(_ disk: DiskDescription) throws {
    throw PluginError(.unimplemented, "\(Self.name) disks are not told to erase themselves.")
  }
}

/// A disk as its class knows it.
public struct DiskDescription: Sendable, Hashable {
  /// Survives reboots, slots and renames, and is unique among the disks of the class: a WWN or a serial number.
  public var identity: String
  /// The paths of the block devices that lead to it, the best one first: several where a disk has several ports.
  public var devices: [String]
  public var facts: BlockFacts
  /// Driver, address, serial number, WWN, firmware: whatever is known.
  public var physicalFunction: PhysicalFunction
  /// What the class finds out by itself, such as the enclosure and the bay. The configuration's labels go before.
  public var labels: [String: String]
  public var numaNode: Int32?
  public var health: Health
  /// Whether other hosts may reach the same disk, and the disk itself keeps them apart.
  public var isMultiRoot: Bool
  /// Whether its drive can make a virtual function that has the disk, for a consumer that drives it by itself.
  public var makesFunctions: Bool
  /// Names the drive, if it could make such functions, whether or not it is to make any now. Disks of one drive have one
  /// number of functions between them.
  public var functionMaker: String?
  /// A virtual function has it: this host has no block device of it meanwhile.
  public var isAway: Bool
  /// Whether it can be told to erase all of itself, and nothing of any other disk's.
  public var sanitizes: Bool

  public init(
    identity: String, devices: [String], facts: BlockFacts, physicalFunction: PhysicalFunction = PhysicalFunction(),
    labels: [String: String] = [:], numaNode: Int32? = nil, health: Health = Health(), isMultiRoot: Bool = false,
    makesFunctions: Bool = false, functionMaker: String? = nil, isAway: Bool = false, sanitizes: Bool = false
  ) {
    self.identity = identity
    self.devices = devices
    self.facts = facts
    self.physicalFunction = physicalFunction
    self.labels = labels
    self.numaNode = numaNode
    self.health = health
    self.isMultiRoot = isMultiRoot
    self.makesFunctions = makesFunctions
    self.functionMaker = functionMaker
    self.isAway = isAway
    self.sanitizes = sanitizes
  }

  /// The path that is used.
  public var device: String { devices.first ?? "" }
}

/// Keeps a disk that several hosts can reach for one of them, by what the disk itself remembers. Its methods block, and answer
/// after reading the disk back.
public protocol DiskKeeper: Sendable {
  /// From here on the disk is the token's, on this host. Whoever has it under a lower token is cut off by the disk, and what
  /// it has under way has ended. Done again, it is repaired where a path came back without it.
  ///
  /// - Throws: FAILED_PRECONDITION with the disk's highest token, if that is a higher one.
  func seize(_ token: FencingToken) throws
  /// Whether the disk is the token's.
  func isHeld(by token: FencingToken) throws -> Bool
  /// This host lets go of it. What is not held is no error.
  func letGo(of token: FencingToken) throws
  /// The highest one that the disk knows; nil: none.
  func highestToken() throws -> FencingToken?
}
