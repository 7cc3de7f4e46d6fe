/*
 * Plug and unplug devices in tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_PLUG_H
#define TESTS_QTEST_VQ_PLUG_H

#include "libqtest.h"

/*
 * device_add with the arguments of @json, an object.
 * Returns: NULL, or the error's text, to be freed
 */
char *vq_plug_try(QTestState *qts, const char *json);

/* The same, where an error fails the test */
void vq_plug(QTestState *qts, const char *json);

/* Do what a guest does that was asked to give up the device in @slot */
void vq_plug_eject(QTestState *qts, unsigned slot);

/* Wait until device @id is gone; fail if it takes too long */
void vq_plug_wait_gone(QTestState *qts, const char *id);

/* device_del on the first PCI bus of a "pc", to the end */
void vq_plug_unplug(QTestState *qts, const char *id, unsigned slot);

/* object-del. Returns: NULL, or the error's text, to be freed */
char *vq_plug_object_del(QTestState *qts, const char *id);

#endif /* TESTS_QTEST_VQ_PLUG_H */
