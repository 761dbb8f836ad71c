import CLinux
import Glibc

/// "major:minor" of traffic control, in one word.
public struct TrafficHandle: Sendable, Hashable, CustomStringConvertible {
  public var value: UInt32

  public init(_ value: UInt32) { self.value = value }
  public init(major: UInt16, minor: UInt16) { value = UInt32(major) << 16 | UInt32(minor) }

  public static let none = TrafficHandle(0)
  public static let root = TrafficHandle(0xffff_ffff)
  /// The parent of an ingress qdisc, and of the filters in it.
  public static let ingress = TrafficHandle(0xffff_fff1)
  public static let ingressFilters = TrafficHandle(0xffff_0000)
  /// The parent of the ingress filters of a clsact qdisc.
  public static let clsactIngressFilters = TrafficHandle(0xffff_fff2)

  public var major: UInt16 { UInt16(value >> 16) }
  public var minor: UInt16 { UInt16(truncatingIfNeeded: value) }
  public var description: String { String(major, radix: 16) + ":" + String(minor, radix: 16) }
}

/// A queueing discipline as it is on an interface.
public struct QueueingDiscipline: Sendable, Hashable {
  public var kind: String
  public var handle: TrafficHandle
  public var parent: TrafficHandle
  /// Of a tbf.
  public var rateBitsPerSecond: UInt64?

  /// Put there by the kernel, not by anyone: it may be replaced, and comes back when the replacement goes.
  public var isDefault: Bool { handle.value == 0 }
}

/// A class of an htb.
public struct TrafficClass: Sendable, Hashable {
  public var handle: TrafficHandle
  public var rateBitsPerSecond: UInt64
}

extension RouteNetlink {
  // MARK: Queueing disciplines

  public func queueingDisciplines(of interface: Int32) throws(NetlinkError) -> [QueueingDiscipline] {
    let request = NetlinkRequest(RTM_GETQDISC, operation: "list the qdiscs of interface number \(interface)") {
      $0.append(tcmsg(interface: interface))
    }
    // The kernel's dump may cover more interfaces than the one asked for.
    return try socket.dump(request).compactMap { reply in
      guard let (message, attributes) = reply.trafficControl(RTM_NEWQDISC), message.tcm_ifindex == interface,
        let kind = attributes.string(Int(TCA_KIND))
      else { return nil }
      return QueueingDiscipline(
        kind: kind, handle: TrafficHandle(message.tcm_handle), parent: TrafficHandle(message.tcm_parent),
        rateBitsPerSecond: kind == "tbf" ? TokenBucket.rate(in: attributes) : nil)
    }
  }

  /// Where incoming packets are given to filters. One that is there already is left as it is.
  public func addIngress(to interface: Int32) throws(NetlinkError) {
    do {
      try socket.request(ingressRequest(interface))
    } catch  where error.errno == EEXIST {
      // Someone's ingress qdisc serves as well.
    }
  }

  func ingressRequest(_ interface: Int32) -> NetlinkRequest {
    NetlinkRequest(
      RTM_NEWQDISC, flags: NLM_F_CREATE | NLM_F_EXCL, operation: "add an ingress qdisc to interface number \(interface)"
    ) {
      $0.append(tcmsg(interface: interface, handle: .ingressFilters, parent: .ingress))
      $0.attribute(Int(TCA_KIND), "ingress")
    }
  }

  /// Limits what leaves an interface; on an interface that has this limit already, changes it without a gap.
  public func limit(_ interface: Int32, to bucket: TokenBucket) throws(NetlinkError) {
    let flags = NLM_F_CREATE | NLM_F_REPLACE
    try socket.request(
      NetlinkRequest(RTM_NEWQDISC, flags: flags, operation: "limit interface number \(interface) by tbf") {
        $0.append(tcmsg(interface: interface, parent: .root))
        $0.attribute(Int(TCA_KIND), "tbf")
        $0.nested(Int(TCA_OPTIONS)) { bucket.write(to: &$0) }
      })
  }

  /// Puts an htb at the root, which passes on what no class takes. What is there must be the kernel's default.
  public func addHierarchicalTokenBucket(to interface: Int32, handle: TrafficHandle) throws(NetlinkError) {
    let flags = NLM_F_CREATE | NLM_F_EXCL
    try socket.request(
      NetlinkRequest(RTM_NEWQDISC, flags: flags, operation: "add an htb to interface number \(interface)") {
        $0.append(tcmsg(interface: interface, handle: handle, parent: .root))
        $0.attribute(Int(TCA_KIND), "htb")
        $0.nested(Int(TCA_OPTIONS)) { options in
          options.attribute(
            Int(TCA_HTB_INIT),
            structure: tc_htb_glob(version: 3, rate2quantum: 10, defcls: 0, debug: 0, direct_pkts: 0))
        }
      })
  }

  /// A qdisc that is not there is no error.
  public func deleteQueueingDiscipline(of interface: Int32, parent: TrafficHandle) throws(NetlinkError) {
    let request = NetlinkRequest(
      RTM_DELQDISC, operation: "delete the qdisc at \(parent) of interface number \(interface)"
    ) {
      let handle: TrafficHandle = parent == .ingress ? .ingressFilters : .none
      $0.append(tcmsg(interface: interface, handle: handle, parent: parent))
    }
    do {
      try socket.request(request)
    } catch  where error.isAbsence || (error.errno == EINVAL && parent == .ingress) {
      // There is only the kernel's default, or no ingress qdisc.
    }
  }

  // MARK: Classes

  public func classes(of interface: Int32) throws(NetlinkError) -> [TrafficClass] {
    let request = NetlinkRequest(RTM_GETTCLASS, operation: "list the classes of interface number \(interface)") {
      $0.append(tcmsg(interface: interface))
    }
    return try socket.dump(request).compactMap { reply in
      guard let (message, attributes) = reply.trafficControl(RTM_NEWTCLASS), message.tcm_ifindex == interface,
        attributes.string(Int(TCA_KIND)) == "htb"
      else { return nil }
      return TrafficClass(
        handle: TrafficHandle(message.tcm_handle), rateBitsPerSecond: HierarchicalClass.rate(in: attributes) ?? 0)
    }
  }

  /// Creates the class or changes it without a gap.
  public func setClass(
    _ handle: TrafficHandle, of interface: Int32, to parameters: HierarchicalClass
  ) throws(NetlinkError) {
    try socket.request(
      NetlinkRequest(
        RTM_NEWTCLASS, flags: NLM_F_CREATE, operation: "set class \(handle) of interface number \(interface)"
      ) {
        let parent = TrafficHandle(major: handle.major, minor: 0)
        $0.append(tcmsg(interface: interface, handle: handle, parent: parent))
        $0.attribute(Int(TCA_KIND), "htb")
        $0.nested(Int(TCA_OPTIONS)) { parameters.write(to: &$0) }
      })
  }

  /// A class that is not there is no error.
  public func deleteClass(_ handle: TrafficHandle, of interface: Int32) throws(NetlinkError) {
    let request = NetlinkRequest(
      RTM_DELTCLASS, operation: "delete class \(handle) of interface number \(interface)"
    ) {
      $0.append(tcmsg(interface: interface, handle: handle))
    }
    do { try socket.request(request) } catch  where error.isAbsence {}
  }
}

extension tcmsg {
  init(
    interface: Int32, handle: TrafficHandle = .none, parent: TrafficHandle = .none, information: UInt32 = 0
  ) {
    self.init(
      tcm_family: 0, tcm__pad1: 0, tcm__pad2: 0, tcm_ifindex: interface, tcm_handle: handle.value,
      tcm_parent: parent.value, tcm_info: information)
  }
}

extension NetlinkReply {
  /// The header and attributes of a traffic-control message of the given type.
  func trafficControl(_ type: some BinaryInteger) -> (tcmsg, NetlinkAttributes)? {
    guard self.type == UInt16(type), let interface = payload.integer(at: 4, as: Int32.self),
      let handle = payload.integer(at: 8, as: UInt32.self), let parent = payload.integer(at: 12, as: UInt32.self),
      let information = payload.integer(at: 16, as: UInt32.self)
    else { return nil }
    let message = tcmsg(
      interface: interface, handle: TrafficHandle(handle), parent: TrafficHandle(parent), information: information)
    return (message, NetlinkAttributes(payload.dropFirst(MemoryLayout<tcmsg>.size)))
  }
}
