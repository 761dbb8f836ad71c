extension Tenant {
  /// Of claims that name none.
  public static var defaultName: String { "default" }
}

extension ClaimSpecification {
  public var tenantName: String { tenant.isEmpty ? Tenant.defaultName : tenant }
}
