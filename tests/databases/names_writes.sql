-- writer Tábelle
INSERT INTO "Schéma ""q"" 'a' \b 模式"."Tábelle ""q"" 'a' \b 表" ("Wért ""q""") VALUES (E'néu \\ ''' || :{1000});

UPDATE "Schéma ""q"" 'a' \b 模式"."Tábelle ""q"" 'a' \b 表" SET "Fárbe" = '蓝' WHERE "Schlüssel ""q"" 'a' \b" = 1 + 7 * :{2000};

DELETE FROM "Schéma ""q"" 'a' \b 模式"."Tábelle ""q"" 'a' \b 表" WHERE "Schlüssel ""q"" 'a' \b" = 1 + 7 * :{2000};

-- writer ohne Schlüssel
INSERT INTO "Schéma ""q"" 'a' \b 模式"."ohne Schlüssel ""q"" 'a' \b" VALUES (NULL, :{1000});

UPDATE "Schéma ""q"" 'a' \b 模式"."ohne Schlüssel ""q"" 'a' \b" SET "Spälte ""q"" 'a' \b" = E'\\t' || :{50} WHERE "%s {} :1 $1 ?" = :{1000};

DELETE FROM "Schéma ""q"" 'a' \b 模式"."ohne Schlüssel ""q"" 'a' \b" WHERE "%s {} :1 $1 ?" = :{1000};

-- writer geteilt
INSERT INTO "Schéma ""q"" 'a' \b 模式"."geteilt ""q""" VALUES (:{6}, 'néu ' || :{1000});

UPDATE "Schéma ""q"" 'a' \b 模式"."geteilt ""q""" SET "schlüssel ""k""" = :{6} WHERE "wért" = 'wért ' || :{1000};

DELETE FROM "Schéma ""q"" 'a' \b 模式"."geteilt ""q""" WHERE "wért" = 'wért ' || :{1000};
