import CLinux
import Glibc

/// Interfaces, addresses and traffic control of one network namespace.
public final class RouteNetlink: Sendable {
  public let namespace: NetworkNamespace
  public let socket: any NetlinkTransport

  public convenience init(in namespace: NetworkNamespace) throws {
    self.init(in: namespace, through: try NetlinkSocket(.route, in: namespace))
  }

  /// Through what answers for the namespace's kernel.
  public init(in namespace: NetworkNamespace, through socket: any NetlinkTransport) {
    self.namespace = namespace
    self.socket = socket
  }

  /// Every interface of this namespace, or of the one that this namespace knows by an id.
  public func links(inNamespaceWithID id: Int32? = nil) throws(NetlinkError) -> [Link] {
    try Link.all(through: socket, inNamespaceWithID: id)
  }

  /// Nil when there is no such interface.
  public func link(named name: String) throws(NetlinkError) -> Link? {
    guard InterfaceName.isValid(name) else { return nil }
    return try link(index: 0, operation: "look up interface \(name)") { $0.attribute(Int(IFLA_IFNAME), name) }
  }

  public func link(index: Int32) throws(NetlinkError) -> Link? {
    try link(index: index, operation: "look up interface number \(index)") { _ in }
  }

  private func link(
    index: Int32, operation: String, _ attributes: (inout NetlinkPayload) -> Void
  ) throws(NetlinkError) -> Link? {
    let request = NetlinkRequest(RTM_GETLINK, operation: operation) {
      $0.append(ifinfomsg(index: index))
      attributes(&$0)
    }
    do {
      return try socket.request(request).lazy.compactMap(Link.init).first
    } catch  where error.isAbsence {
      return nil
    }
  }

  public func create(_ link: NewLink) throws(NetlinkError) { try socket.request(link.request) }

  public func change(_ index: Int32, _ change: LinkChange) throws(NetlinkError) {
    try socket.request(change.request(index: index))
  }

  /// An interface that is not there is no error.
  public func delete(_ index: Int32, inNamespaceWithID id: Int32? = nil) throws(NetlinkError) {
    let request = NetlinkRequest(RTM_DELLINK, operation: "delete interface number \(index)") {
      $0.append(ifinfomsg(index: index))
      if let id { $0.attribute(Int(IFLA_TARGET_NETNSID), id) }
    }
    do { try socket.request(request) } catch  where error.isAbsence {}
  }

  // MARK: Other namespaces

  /// The ids under which this namespace knows others: those that a device of it was ever moved to, among others.
  public func namespaceIDs() throws(NetlinkError) -> [Int32] {
    let request = NetlinkRequest(RTM_GETNSID, operation: "list the namespaces known to \(namespace.label)") {
      $0.append(rtgenmsg(rtgen_family: UInt8(AF_UNSPEC)))
    }
    return try socket.dump(request).compactMap(Self.namespaceID).sorted()
  }

  /// The id under which this namespace knows another (or itself); nil when it does not know it.
  public func namespaceID(of other: NetworkNamespace) throws(NetlinkError) -> Int32? {
    let request = NetlinkRequest(RTM_GETNSID, operation: "identify \(other.label)") {
      $0.append(rtgenmsg(rtgen_family: UInt8(AF_UNSPEC)))
      $0.attribute(Int(NETNSA_FD), other.descriptor)
    }
    return try socket.request(request).compactMap(Self.namespaceID).first { $0 >= 0 }
  }

  /// Makes this namespace know another one, so that what it has there is found even when the other has lost its name.
  public func know(_ other: NetworkNamespace) throws(NetlinkError) {
    let request = NetlinkRequest(RTM_NEWNSID, operation: "give \(other.label) an id") {
      $0.append(rtgenmsg(rtgen_family: UInt8(AF_UNSPEC)))
      $0.attribute(Int(NETNSA_NSID), Int32(-1))
      $0.attribute(Int(NETNSA_FD), other.descriptor)
    }
    do { try socket.request(request) } catch  where error.errno == EEXIST {}
  }

  private static func namespaceID(_ reply: NetlinkReply) -> Int32? {
    NetlinkAttributes(reply.payload.dropFirst(4)).integer(Int(NETNSA_NSID))
  }

  // MARK: Addresses

  /// The number of the interface that carries an IP address; nil when none does.
  public func interfaceIndex(carrying address: IPAddress) throws(NetlinkError) -> Int32? {
    let request = NetlinkRequest(RTM_GETADDR, operation: "list the addresses of \(namespace.label)") {
      $0.append(ifaddrmsg(ifa_family: address.family, ifa_prefixlen: 0, ifa_flags: 0, ifa_scope: 0, ifa_index: 0))
    }
    for reply in try socket.dump(request) where reply.type == UInt16(RTM_NEWADDR) {
      guard let index = reply.payload.integer(at: 4, as: Int32.self) else { continue }
      let attributes = NetlinkAttributes(reply.payload.dropFirst(MemoryLayout<ifaddrmsg>.size))
      // On a point-to-point interface IFA_ADDRESS is the peer's.
      let own = attributes[Int(IFA_LOCAL)] ?? attributes[Int(IFA_ADDRESS)]
      if let own, Array(own) == address.octets { return index }
    }
    return nil
  }

  /// Gives an interface an address.
  public func add(_ address: IPAddress, prefixLength: UInt8, to index: Int32) throws(NetlinkError) {
    let flags = NLM_F_CREATE | NLM_F_REPLACE
    try socket.request(
      NetlinkRequest(RTM_NEWADDR, flags: flags, operation: "add address \(address) to interface number \(index)") {
        // IFA_F_NODAD: an address of ours is usable at once.
        $0.append(
          ifaddrmsg(
            ifa_family: address.family, ifa_prefixlen: prefixLength, ifa_flags: UInt8(IFA_F_NODAD), ifa_scope: 0,
            ifa_index: UInt32(index)))
        $0.attribute(Int(IFA_LOCAL), address.octets)
        $0.attribute(Int(IFA_ADDRESS), address.octets)
      })
  }
}

extension IPAddress {
  var family: UInt8 { UInt8(isIPv4 ? AF_INET : AF_INET6) }
}

extension ifinfomsg {
  init(index: Int32, flags: UInt32 = 0, change: UInt32 = 0) {
    self.init(
      ifi_family: UInt8(AF_UNSPEC), __ifi_pad: 0, ifi_type: 0, ifi_index: index, ifi_flags: flags, ifi_change: change)
  }
}

/// What the kernel takes for the name of an interface.
public enum InterfaceName {
  public static let maximumLength = 15

  public static func isValid(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= maximumLength && name != "." && name != ".."
      // The kernel refuses '/', ':' and white space; a control character or '%' (a pattern) is no name for people.
      && !name.utf8.contains { $0 <= 0x20 || $0 == 0x7f || "/:%".utf8.contains($0) }
  }
}
