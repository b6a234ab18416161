/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Included by vmshm_config.h. Open MPI's opal_config.h defines these names for itself and takes its
 * own back, but not in an order that lets both headers be included. They cannot be undefined in
 * vmshm_config.h: configure takes an #undef there as a place to fill in.
 */
#undef PACKAGE_BUGREPORT
#undef PACKAGE_NAME
#undef PACKAGE_STRING
#undef PACKAGE_TARNAME
#undef PACKAGE_URL
#undef PACKAGE_VERSION
